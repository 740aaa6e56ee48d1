package tokenauth

import "testing"

func TestToken_Equals(t *testing.T) {
	token := New("secret")
	for presented, want := range map[string]bool{"secret": true, "": false, "Secret": false, "secret ": false, "secre": false} {
		if got := token.Equals(presented); got != want {
			t.Errorf("the token equals %q: %v, want %v", presented, got, want)
		}
	}
	if (Token{}).Equals("") {
		t.Error("the zero Token accepts an empty token")
	}
}
