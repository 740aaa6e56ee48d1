package conformance

const tokenRule = "A token is greater than every token that the store has issued for this key before."

// tokenRows test fencing tokens.
var tokenRows = []row{{
	name: "tokens grow across unlock",
	rule: tokenRule,
	check: func(f *fixture) {
		s := f.open()
		var last uint64
		for range 5 {
			last = f.wantGreater(s.mustLock("disk", "ann").Token, last)
			s.mustUnlock("disk", "ann")
		}
	},
}, {
	name: "tokens grow across expiry",
	rule: tokenRule,
	check: func(f *fixture) {
		s := f.open()
		var last uint64
		for range 3 {
			last = f.wantGreater(s.mustLockFor("disk", "ann", f.shortTTL()).Token, last)
			f.waitExpired(f.shortTTL())
		}
	},
}, {
	name: "tokens grow across clients",
	rule: tokenRule,
	check: func(f *fixture) {
		var last uint64
		for range 3 {
			s, other := f.open(), f.open()
			last = f.wantGreater(s.mustLock("disk", "ann").Token, last)
			s.mustUnlock("disk", "ann")
			last = f.wantGreater(other.mustLock("disk", "bob").Token, last)
			other.mustUnlock("disk", "bob")
			_ = s.Close()
		}
	},
}, {
	name: "tokens grow after the lock was unused for a while",
	rule: tokenRule,
	check: func(f *fixture) {
		s := f.open()
		s.mustLock("disk", "ann")
		s.mustUnlock("disk", "ann")
		last := s.mustLockFor("disk", "ann", f.shortTTL()).Token
		_ = s.unlock("disk", "ann") // may be too late
		f.waitExpired(4 * f.shortTTL())
		f.wantGreater(s.mustLock("disk", "bob").Token, last)
	},
}}

// wantGreater expects the token to be greater than the last one, and returns it.
func (f *fixture) wantGreater(token, last uint64) uint64 {
	f.want(token > last, "token %d follows %d", token, last)
	return token
}
