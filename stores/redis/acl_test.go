package redis

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/test/servers"
)

const (
	componentOf = "../../deploy/components/redis.yaml"
	pageOf      = "../../docs/redis.md"
)

// startWithACL starts a server with the documented user. The returned function runs the
// command ACL.
func startWithACL(t *testing.T) (server *servers.Redis, setUser func(...string)) {
	t.Helper()
	server, admin := servers.StartRestrictedRedis(t, componentOf)
	return server, func(rules ...string) {
		t.Helper()
		servers.SetACL(t, admin, rules...)
	}
}

func aclLogin(server *servers.Redis, more ...string) []string {
	return append([]string{"redisHost", server.Addr, "redisUsername", servers.User, "redisPassword", servers.Password}, more...)
}

func TestDocumentedPermissions_MatchScripts(t *testing.T) {
	t.Parallel()
	rules := servers.DocumentedACL(t, componentOf)
	if page := servers.DocumentedACL(t, pageOf); !slices.Equal(page, rules) {
		t.Errorf("%s has %q, %s has %q", pageOf, page, componentOf, rules)
	}
	var documented []string
	for _, rule := range rules {
		if command, ok := strings.CutPrefix(rule, "+"); ok {
			documented = append(documented, command)
		}
	}
	// Commands that the Store itself sends.
	needed := []string{"eval", "evalsha", "subscribe", "scan", "sscan", "info", "select"}
	for _, path := range luaPaths(t) {
		text, err := luaFiles.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`redis\.p?call\('(\w+)'`).FindAllSubmatch(text, -1) {
			needed = append(needed, strings.ToLower(string(match[1])))
		}
	}
	slices.Sort(documented)
	slices.Sort(needed)
	if needed = slices.Compact(needed); !slices.Equal(documented, needed) {
		t.Errorf("the documented commands are %q, want %q", documented, needed)
	}
}

// TestOpen_MissingPermission removes each documented permission in turn.
func TestOpen_MissingPermission(t *testing.T) {
	t.Parallel()
	server, setUser := startWithACL(t)
	rules := servers.DocumentedACL(t, componentOf)
	for _, rule := range rules {
		command, isCommand := strings.CutPrefix(rule, "+")
		if rule == "~mortise:*" || rule == "&mortise:*" || isCommand && command != "info" && command != "select" {
			setUser("DELUSER", "mortise")
			setUser(without(rules, rule)...)
			wantMissing(t, server, rule, command)
		}
	}
	setUser("DELUSER", "mortise")
	setUser(without(without(without(rules, "+time"), "+hset"), "~mortise:*")...)
	wantMissing(t, server, "+time +hset ~mortise:*", "time, hset")
}

// wantMissing expects open to return an error that names what is missing and how to grant
// it.
func wantMissing(t *testing.T, server *servers.Redis, rule, name string) {
	t.Helper()
	start := time.Now()
	_, err := tryOpen(t.Context(), aclLogin(server)...)
	if !errors.Is(err, stores.ErrRefused) || errors.Is(err, stores.ErrUnreachable) {
		t.Fatalf("without %s: %v", rule, err)
	}
	name = strings.TrimLeft(name, "~&")
	for _, want := range []string{`the user "mortise" may not`, name, "grant it with ACL SETUSER mortise " + rule, "NOPERM"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %q is not in %q", rule, want, err)
		}
	}
	if strings.Contains(err.Error(), servers.Password) {
		t.Errorf("the error has the password: %v", err)
	}
	if took := time.Since(start); took > openTimeout/2 {
		t.Errorf("without %s: took %v", rule, took)
	}
}

func without(rules []string, rule string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r == rule })
}

func TestOpen_MissingCategory(t *testing.T) {
	t.Parallel()
	server, setUser := startWithACL(t)
	for _, row := range []struct{ name, rule, want string }{
		{"no scripting", "-@scripting", "+eval +evalsha"},
		{"no pub/sub", "-@pubsub", "+publish +subscribe"},
		{"no writing", "-@write", "+set"},
		{"no channels", "resetchannels", "&mortise:*"},
		{"keys that may only be read", "resetkeys %R~mortise:*", "~mortise:*"},
		{"no database but the first", "-select", "+select"},
	} {
		t.Run(row.name, func(t *testing.T) {
			setUser("SETUSER", "mortise", "reset", "on", ">"+servers.Password, "~*", "&*", "+@all")
			setUser(append([]string{"SETUSER", "mortise"}, strings.Fields(row.rule)...)...)
			_, err := tryOpen(t.Context(), aclLogin(server, "redisDB", "3")...)
			if !errors.Is(err, stores.ErrRefused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestOpen_WithoutINFO(t *testing.T) {
	t.Parallel()
	server, setUser := startWithACL(t)
	setUser(without(servers.DocumentedACL(t, componentOf), "+info")...)
	lock(t, openStore(t, aclLogin(server)...), "lock||k", "o", time.Minute)
}

// TestStore_DeniedKey covers permissions that opening cannot check.
func TestStore_DeniedKey(t *testing.T) {
	t.Parallel()
	server, setUser := startWithACL(t)
	setUser(servers.DocumentedACL(t, componentOf)...)
	s := openStore(t, aclLogin(server)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := request("other:k", "o", time.Minute)
	multi := stores.MultiRequest{Keys: []string{"lock||k", "other:k"}, Owner: "o", TTL: time.Minute, Wait: true}
	for name, err := range map[string]error{
		"try lock": grantErr(s.TryLock(ctx, req)),
		"lock":     grantErr(s.Lock(ctx, req)),
		"lock all": grantErr(s.LockAll(ctx, multi)),
		"renew":    grantErr(s.Renew(ctx, req)),
		"unlock":   s.Unlock(ctx, req.Key, req.Owner),
		"revoke":   s.Revoke(ctx, req.Key, ""),
		"declare":  s.Declare(ctx, stores.Declaration{Group: "other:", Key: req.Key, TTL: time.Minute}),
		"withdraw": s.Withdraw(ctx, "other:", req.Key),
	} {
		if !errors.Is(err, stores.ErrRefused) || !strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), `"other:k"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lock(t, s, "lock||k", "another", time.Minute) // fails if LockAll holds it
}

// TestStore_RevokedPermission revokes a permission during a wait and a watch.
func TestStore_RevokedPermission(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"-evalsha", "-@all", "resetkeys"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			server, setUser := startWithACL(t)
			setUser(servers.DocumentedACL(t, componentOf)...)
			s := openStore(t, aclLogin(server)...)
			lock(t, s, "lock||k", "holder", time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			watching, watched := make(chan struct{}), make(chan error, 1)
			go func() {
				watched <- s.Watch(ctx, "lock||", func(stores.Event) error { close(watching); return nil })
			}()
			<-watching
			w := startLock(t, s, request("lock||k", "o", time.Minute), 1)
			setUser("SETUSER", "mortise", rule)
			if _, err := w.result(); !errors.Is(err, stores.ErrRefused) {
				t.Errorf("the wait ended with %v", err)
			}
			if err := <-watched; !errors.Is(err, stores.ErrRefused) {
				t.Errorf("the watch ended with %v", err)
			}
		})
	}
}

// TestLock_RevokedChannels revokes a permission that opening requires. Waiters depend on
// their checks then.
func TestLock_RevokedChannels(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, "--user", "app", "on", ">pw", "~*", "&*", "+@all")
	a := openStore(t, "redisHost", server.Addr, "redisUsername", "app", "redisPassword", "pw")
	b := openStore(t, "redisHost", server.Addr, "redisUsername", "app", "redisPassword", "pw")
	if err := server.Client().Do(t.Context(), "ACL", "SETUSER", "app", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	lock(t, a, "k", "holder", time.Minute)
	w := startLock(t, b, request("k", "o", time.Minute), 1)
	unlock(t, a, "k", "holder")
	w.granted()
	unlock(t, b, "k", "o")
	err := a.Watch(t.Context(), "", func(stores.Event) error { return nil })
	if !errors.Is(err, stores.ErrRefused) || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("watch: %v", err)
	}
}
