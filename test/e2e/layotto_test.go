// Layotto's lock API over TCP, as its SDKs call it.
package e2e

import (
	"context"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"

	layottopb "github.com/mortise-lock/mortise/proto/spec/proto/runtime/v1"
)

// layottoAPI calls Layotto's runtime.
type layottoAPI struct{ client layottopb.RuntimeClient }

func (d layottoAPI) tryLock(ctx context.Context, store string, r request) (bool, error) {
	resp, err := d.client.TryLock(ctx,
		&layottopb.TryLockRequest{StoreName: store, ResourceId: r.resource, LockOwner: r.owner, Expire: r.seconds})
	return resp.GetSuccess(), err
}

func (d layottoAPI) unlock(ctx context.Context, store string, r request) (status, error) {
	resp, err := d.client.Unlock(ctx, &layottopb.UnlockRequest{StoreName: store, ResourceId: r.resource, LockOwner: r.owner})
	return status(resp.GetStatus()), err
}

// keepAlive renews a lock. Its statuses have the numbers of an unlock's.
func (d layottoAPI) keepAlive(t testing.TB, store string, r request) (status, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	resp, err := d.client.LockKeepAlive(ctx,
		&layottopb.LockKeepAliveRequest{StoreName: store, ResourceId: r.resource, LockOwner: r.owner, Expire: r.seconds})
	return status(resp.GetStatus()), err
}

// startLayotto starts `mortise dev` for an app, with the components, instead of Layotto.
func startLayotto(t testing.TB, app string, components ...component) layottoAPI {
	t.Helper()
	d := startDev(t, "", "--app-id", app, "--resources-path", newResources(t, components...).path)
	conn, err := grpc.NewClient(d.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return layottoAPI{layottopb.NewRuntimeClient(conn)}
}

// The rules of Layotto's documentation for one owner in two apps and in two processes of
// one app.
func TestLayotto_SameOwner(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	locks := redis("locks", server)
	shop := user{t: t, api: startLayotto(t, "shop", locks), store: "locks"}
	office := user{t: t, api: startLayotto(t, "office", locks), store: "locks"}
	branch := user{t: t, api: startLayotto(t, "shop", locks), store: "locks"}

	shop.acquires("order_id_111", "one owner")
	office.unlockReturns(doesNotExist, "order_id_111", "one owner")
	office.acquires("order_id_111", "one owner")
	want := map[string]string{"lock|||shop||order_id_111": "one owner", "lock|||office||order_id_111": "one owner"}
	if got := locksIn(t, server); !maps.Equal(got, want) {
		t.Errorf("Redis has %v, want %v", got, want)
	}
	branch.isRefused("order_id_111", "one owner")
	branch.unlockReturns(belongsToOthers, "order_id_111", "another owner")
	// The documentation warns that this releases the lock of another process.
	branch.unlocks("order_id_111", "one owner")
	shop.unlockReturns(doesNotExist, "order_id_111", "one owner")
	office.isRefused("order_id_111", "another owner")
	office.unlocks("order_id_111", "one owner")
}

func TestLayotto_Outcomes(t *testing.T) {
	t.Parallel()
	api := startLayotto(t, "shop", memory("memory"), redis("redis", startRedis(t)))
	for _, store := range []string{"memory", "redis"} {
		t.Run(store+" store", func(t *testing.T) {
			u := user{t: t, api: api, store: store}
			renews := func(want status, owner string, seconds int32) {
				t.Helper()
				if got, err := api.keepAlive(t, store, request{"invoice", owner, seconds}); err != nil || got != want {
					t.Fatalf("%s renews the lock: got %d, %v; want %d", owner, got, err, want)
				}
			}
			begin := time.Now()
			u.acquiresFor(1, "invoice", "alice")
			u.isRefused("invoice", "bob")
			renews(belongsToOthers, "bob", minute)
			renews(unlocked, "alice", 3)
			u.eventuallyTryLock(true, "invoice", "bob")
			if held := time.Since(begin); held < 2990*time.Millisecond {
				t.Errorf("a lock that was renewed for 3s was free after %v", held)
			}
			renews(belongsToOthers, "alice", minute)
			u.unlockReturns(belongsToOthers, "invoice", "alice")
			u.unlocks("invoice", "bob")
			renews(doesNotExist, "bob", minute)
			u.unlockReturns(doesNotExist, "invoice", "bob")
			u.acquires("invoice", "alice")
		})
	}
}

func TestLayotto_Errors(t *testing.T) {
	t.Parallel()
	api := startLayotto(t, "shop", memory("locks"))
	for _, row := range []struct {
		name    string
		store   string
		ask     request
		code    codes.Code
		message string
		expiry  bool // the error is about the expiry, which an unlock does not have
	}{
		{"no resource", "locks", request{"", "alice", 1}, codes.InvalidArgument, "ResourceId is empty in lock store locks", false},
		{"no owner", "locks", request{"invoice", "", 1}, codes.InvalidArgument, "LockOwner is empty in lock store locks", false},
		{"no expiry", "locks", request{"invoice", "alice", 0}, codes.InvalidArgument,
			"Expire is not positive in lock store locks", true},
		{"no resource, no store", "depot", request{"", "alice", 0}, codes.InvalidArgument,
			"ResourceId is empty in lock store depot", false},
		{"an unknown store", "depot", request{"invoice", "alice", 1}, codes.InvalidArgument, "lock store depot not found", false},
		{"the separator", "locks", request{"a||b", "alice", 1}, codes.Unknown,
			"input key/keyPrefix 'a||b' can't contain '||'", false},
	} {
		_, onLock := api.tryLock(t.Context(), row.store, row.ask)
		_, onKeepAlive := api.keepAlive(t, row.store, row.ask)
		errs := map[string]error{"lock": onLock, "keep alive": onKeepAlive}
		if !row.expiry {
			_, errs["unlock"] = api.unlock(t.Context(), row.store, row.ask)
		}
		for call, err := range errs {
			if got := grpcstatus.Convert(err); got.Code() != row.code || got.Message() != row.message {
				t.Errorf("%s: %s: got %v %q, want %v %q", row.name, call, got.Code(), got.Message(), row.code, row.message)
			}
		}
	}
}
