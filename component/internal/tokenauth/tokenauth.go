// Package tokenauth compares the tokens that calls carry with the one that they need.
package tokenauth

import (
	"crypto/sha256"
	"crypto/subtle"
)

// Token is a token that callers must present. It holds only the token's hash, so that a
// comparison takes the same time whatever was presented. The zero Token accepts nothing.
type Token struct {
	hash [sha256.Size]byte
}

// New returns a Token that equals token only.
func New(token string) Token { return Token{sha256.Sum256([]byte(token))} }

// Equals reports whether presented is the token.
func (t Token) Equals(presented string) bool {
	hash := sha256.Sum256([]byte(presented))
	return subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1
}
