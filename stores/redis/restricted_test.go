package redis

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

// openRestricted opens a store as a user that may use the keys app:* and mortise:* only,
// and one as an unrestricted user.
func openRestricted(t *testing.T) (app, all *Store, client *goredis.Client) {
	t.Helper()
	server := servers.StartRedis(t, "--user", "app", "on", ">pw", "~app:*", "~mortise:*", "resetchannels", "&mortise:*", "+@all")
	app = openStore(t, "redisHost", server.Addr, "redisUsername", "app", "redisPassword", "pw")
	return app, openStore(t, "redisHost", server.Addr), server.Client()
}

// denials returns the entries of Redis's ACL log.
func denials(t *testing.T, client *goredis.Client) []any {
	t.Helper()
	rows, err := client.Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestRestricted_List(t *testing.T) {
	t.Parallel()
	app, _, client := openRestricted(t)
	for i, data := range otherData {
		writeData(t, client, fmt.Sprint("other:", i), data.command, data.ttl)
	}
	client.Set(t.Context(), "other:session", "secret", time.Hour)
	client.Set(t.Context(), "app:page", "x", 0)
	client.HSet(t.Context(), "app:hash", "f", "v")
	lock(t, app, "app:1", "o", time.Minute)
	declare(t, app, "app:", "app:2", time.Minute)
	for _, prefix := range []string{"", "a", "app:", "o", "other:", "other:session", "x", "mortise:", "*"} {
		list, err := app.List(t.Context(), prefix)
		want := 0
		if strings.HasPrefix("app:", prefix) {
			want = 2
		}
		if err != nil || len(list) != want {
			t.Errorf("list %q: %+v, %v", prefix, list, err)
		}
		startWatch(t, app, prefix).waitForState(app, prefix)
	}
	// The watchers ask Redis about this lock when it expires.
	lock(t, app, "app:3", "o", 200*time.Millisecond)
	eventually(t, "the lock expires", func() bool { return client.Exists(t.Context(), "app:3").Val() == 0 })
	startLock(t, app, request("app:1", "p", time.Minute), 1)
	startWatch(t, app, "").waitForState(app, "")
	if denied := denials(t, client); len(denied) > 0 {
		t.Errorf("Redis denied %v", denied)
	}
}

// TestRestricted_UnreadableLocks takes locks of all kinds as another user. The restricted
// user can only read their records.
func TestRestricted_UnreadableLocks(t *testing.T) {
	t.Parallel()
	app, all, client := openRestricted(t)
	w := startWatch(t, app, "")
	token := lock(t, all, "other:1", "x", time.Minute)
	lock(t, all, "other:2", "x", 300*time.Millisecond)
	declare(t, all, "other:", "other:free", time.Minute)
	declare(t, all, "other:", "other:held", time.Minute)
	if g, err := all.TryLock(t.Context(), stores.Request{Group: "other:", Key: "other:held", Owner: "y"}); err != nil || !g.Acquired {
		t.Fatal(g, err)
	}
	client.SetNX(t.Context(), "lock||other", "z", time.Minute) // has no record
	lock(t, app, "app:1", "o", time.Minute)

	eventually(t, "the short lock expires", func() bool {
		list, err := app.List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 4
	})
	l := find(t, app, "other:1")
	if l.Owner != "x" || l.Token != token || l.Remaining < 50*time.Second || l.TTL != time.Minute {
		t.Errorf("a lock that the user may not read: %+v", l)
	}
	for key, owner := range map[string]string{"app:1": "o", "other:held": "y", "other:free": ""} {
		if l := find(t, app, key); l.Owner != owner {
			t.Errorf("%q: %+v", key, l)
		}
	}
	w.waitForState(app, "")
	startWatch(t, app, "").waitForState(app, "")
	if group, err := app.Group(t.Context(), "other:"); err != nil || len(group) != 2 {
		t.Errorf("group: %+v, %v", group, err)
	}
	unlock(t, all, "other:1", "x")
	w.waitForState(app, "")

	for name, err := range map[string]error{
		"try lock": grantErr(app.TryLock(t.Context(), request("other:3", "o", time.Minute))),
		"lock":     grantErr(app.Lock(t.Context(), request("other:3", "o", time.Minute))),
		"revoke":   app.Revoke(t.Context(), "other:held", "y"),
		"get":      infoErr(app.Get(t.Context(), "other:held")),
	} {
		if err == nil || !strings.Contains(err.Error(), "access") || errors.Is(err, stores.ErrNotLock) {
			t.Errorf("%s of a key that the user may not access: %v", name, err)
		}
	}
}

func infoErr(_ stores.LockInfo, err error) error { return err }

// find returns a key's lock in the list of all locks.
func find(t *testing.T, s *Store, key string) stores.LockInfo {
	t.Helper()
	list, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Key == key {
			return l
		}
	}
	return stores.LockInfo{}
}

// TestRestricted_WaiterForOtherKeys queues a waiter for several locks first. The user
// that frees the lock may not access all of them.
func TestRestricted_WaiterForOtherKeys(t *testing.T) {
	t.Parallel()
	app, all, client := openRestricted(t)
	lock(t, app, "app:1", "o", time.Minute)
	both := startLockAll(t, all, stores.MultiRequest{Keys: []string{"app:1", "other:1"}, Owner: "w", TTL: time.Minute}, 1)
	next := startLock(t, app, request("app:1", "next", time.Minute), 2)
	unlock(t, app, "app:1", "o") // the other user's store serves the waiter
	both.granted()
	if got := client.Get(t.Context(), "other:1").Val(); got != "w" {
		t.Errorf("%q holds the other lock", got)
	}
	unlock(t, all, "app:1", "w")
	next.granted()

	// A dead waiter is dropped, and all its keys are visited.
	dead := openStore(t, "redisHost", client.Options().Addr)
	dead.newWaiter(stores.MultiRequest{Keys: []string{"app:1", "other:1"}, Owner: "d", TTL: time.Minute}).enqueue(t, dead)
	last := startLock(t, app, request("app:1", "last", time.Minute), 2)
	client.Del(t.Context(), "mortise:process:"+dead.id, "other:1")
	unlock(t, app, "app:1", "next")
	last.granted()
}

// TestRestricted_RevokedKey revokes a permission while requests wait.
func TestRestricted_RevokedKey(t *testing.T) {
	t.Parallel()
	app, all, client := openRestricted(t)
	client.Do(t.Context(), "ACL", "SETUSER", "app", "~more:*")
	lock(t, all, "app:1", "o", time.Minute)
	lock(t, all, "more:1", "o", time.Minute)
	startLock(t, app, request("more:1", "w", time.Minute), 1)
	stays := startLock(t, app, request("app:1", "w", time.Minute), 1)
	client.Do(t.Context(), "ACL", "SETUSER", "app", "resetkeys", "~app:*", "~mortise:*")
	heartbeat := "mortise:process:" + app.id
	client.Del(t.Context(), heartbeat)
	eventually(t, "the process sends a heartbeat", func() bool { return client.Exists(t.Context(), heartbeat).Val() == 1 })
	unlock(t, all, "app:1", "o")
	stays.granted()
}
