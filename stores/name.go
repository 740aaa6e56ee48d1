package stores

// unnamed is the name of a store that no [Registry] opened.
const unnamed = "store"

// named is a store and the name under which the registry that opened it knows its
// backend. It has the methods of [Store] only; ability finds those of the store in it.
type named struct {
	Store
	name string
}

// NameOf returns the name under which the [Registry] that opened s knows its backend,
// which is the value of metadata key store. It returns "store" if no registry opened s.
func NameOf(s Store) string {
	for {
		switch decorated := s.(type) {
		case *observed:
			s = decorated.store
		case *named:
			return decorated.name
		default:
			return unnamed
		}
	}
}

// Unwrap returns the store that its backend opened, without the decorators of this
// package: the name from a [Registry] and the observers from [Observe].
func Unwrap(s Store) Store {
	for {
		switch decorated := s.(type) {
		case *observed:
			s = decorated.store
		case *named:
			s = decorated.Store
		default:
			return s
		}
	}
}

// ability returns s as a value of the ability interface A, if it has that ability.
func ability[A any](s Store) (A, bool) {
	for {
		n, ok := s.(*named)
		if !ok {
			break
		}
		s = n.Store
	}
	a, ok := s.(A)
	return a, ok
}
