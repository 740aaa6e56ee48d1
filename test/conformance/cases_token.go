package conformance

const tokenRule = "A token is greater than every token that the store gave for this key before."

// tokenRows are about fencing tokens.
var tokenRows = []row{{
	name: "tokens grow across unlock",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		var last uint64
		for range 5 {
			last = b.greater(s.grants("disk", "ann").Token, last)
			s.frees("disk", "ann")
		}
	},
}, {
	name: "tokens grow across expiry",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		var last uint64
		for range 3 {
			last = b.greater(s.grantsFor("disk", "ann", b.short()).Token, last)
			b.expire(b.short())
		}
	},
}, {
	name: "tokens grow across clients",
	rule: tokenRule,
	check: func(b *bench) {
		var last uint64
		for range 3 {
			s, other := b.open(), b.open()
			last = b.greater(s.grants("disk", "ann").Token, last)
			s.frees("disk", "ann")
			last = b.greater(other.grants("disk", "bob").Token, last)
			other.frees("disk", "bob")
			_ = s.Close()
		}
	},
}, {
	name: "tokens grow across a time when nobody wants the lock",
	rule: tokenRule,
	check: func(b *bench) {
		s := b.open()
		s.grants("disk", "ann")
		s.frees("disk", "ann")
		last := s.grantsFor("disk", "ann", b.short()).Token
		_ = s.unlock("disk", "ann") // which may be too late
		b.expire(4 * b.short())
		b.greater(s.grants("disk", "bob").Token, last)
	},
}}

// greater expects a token to be greater than the last one, and returns it.
func (b *bench) greater(token, last uint64) uint64 {
	b.want(token > last, "token %d follows %d", token, last)
	return token
}
