package keyprefix

import "testing"

func TestOf(t *testing.T) {
	for _, row := range []struct {
		name     string
		metadata map[string]string
		want     string
		ok       bool
	}{
		{"none", map[string]string{"redisHost": "localhost"}, "", false},
		{"no metadata", nil, "", false},
		{"empty", map[string]string{"keyPrefix": ""}, "", true},
		{"in another case", map[string]string{"KeyPREFIX": "appid"}, "appid", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, ok := Of(row.metadata); got != row.want || ok != row.ok {
				t.Errorf("got %q, %v, want %q, %v", got, ok, row.want, row.ok)
			}
		})
	}
}

func TestCheckPart(t *testing.T) {
	if err := CheckPart("a|b"); err != nil {
		t.Error(err)
	}
	want := "input key/keyPrefix 'a||b' can't contain '||'"
	if err := CheckPart("a||b"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
