package stores

// unnamed is the name of a store that no [Registry] opened.
const unnamed = "store"

// named decorates a store with the name of its backend in the registry that opened it. It
// has only the methods of [Store]; ability finds the others in the store itself.
type named struct {
	Store
	name string
}

// NameOf returns the name of the backend of s in the [Registry] that opened s. It is the
// value of the metadata key store. NameOf returns "store" if no registry opened s.
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
