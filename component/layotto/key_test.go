package layotto

import (
	"slices"
	"testing"

	"github.com/mortise-lock/mortise/component/instances"
	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
	"github.com/mortise-lock/mortise/stores"
)

func TestTryLock_Keys(t *testing.T) {
	for _, row := range []struct{ name, appID, prefix, want string }{
		{"of the app by default", "app1", "", "lock|||app1||r"},
		{"of the app", "app1", "appid", "lock|||app1||r"},
		{"of the app, in capitals", "App1", "APPID", "lock|||App1||r"},
		{"of an app without an id", "", "", "lock|||r"},
		{"of the store", "app1", "name", "lock|||redis||r"},
		{"of all", "app1", "none", "lock|||r"},
		{"of any other name", "app1", "Shared", "lock|||shared||r"},
	} {
		t.Run(row.name, func(t *testing.T) {
			prefixes := map[string]string{"redis": row.prefix}
			set := openStores(t, prefixes)
			if _, err := client(t, row.appID, prefixes, set).TryLock(t.Context(),
				&layottopb.TryLockRequest{StoreName: "redis", ResourceId: "r", LockOwner: "o", Expire: 10}); err != nil {
				t.Fatal(err)
			}
			if got := heldKeys(t, set); !slices.Equal(got, []string{row.want}) {
				t.Errorf("held are %q", got)
			}
		})
	}
}

// heldKeys returns the keys of the locks in the store "redis".
func heldKeys(t *testing.T, set *instances.Set) []string {
	t.Helper()
	var keys []string
	err := set.Do(t.Context(), "redis", func(s stores.Store) error {
		locks, err := stores.List(t.Context(), s, "")
		for _, l := range locks {
			keys = append(keys, l.Key)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestNew_RejectsKeyPrefixes(t *testing.T) {
	for prefix, good := range map[string]bool{"": true, "name": true, "a|b": true, "a||b": false, "||": false} {
		if _, err := New(Options{KeyPrefixes: map[string]string{"redis": prefix}}); (err == nil) != good {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}
