package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// querySentinels asks all Sentinels at once for the primary's address, and succeeds with
// the first that knows it. go-redis asks too, but reports every problem as unreachable
// Sentinels.
func querySentinels(ctx context.Context, o *goredis.UniversalOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	var queries sync.WaitGroup
	defer queries.Wait()
	defer cancel()
	answers := make(chan error, len(o.Addrs))
	for _, addr := range o.Addrs {
		queries.Go(func() { answers <- querySentinel(ctx, o, addr) })
	}
	var all sentinelErrors
	for range o.Addrs {
		err := <-answers
		if err == nil {
			return nil
		}
		all = append(all, err)
	}
	return all
}

// sentinelErrors are the errors of all Sentinels. It is permanent if all of them are.
type sentinelErrors []error

// Error joins the texts.
func (e sentinelErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	slices.Sort(texts)
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e sentinelErrors) Unwrap() []error { return e }

// querySentinel asks one Sentinel for the primary's address.
func querySentinel(ctx context.Context, o *goredis.UniversalOptions, addr string) error {
	client := newSentinel(o, addr, o.SentinelUsername, o.SentinelPassword)
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })() // ends the request
	_, err := client.GetMasterAddrByName(ctx, o.MasterName).Result()
	switch {
	case err == nil:
		return nil
	case contextErr(ctx) != nil:
		return fmt.Errorf("the Sentinel at %s: %w", addr, contextErr(ctx))
	case errors.Is(err, goredis.Nil):
		return permanentf("the Sentinel at %s knows no primary named %q%s; set sentinelMasterName to the name in its configuration",
			addr, o.MasterName, knownPrimaries(ctx, client))
	case isUnknown(err):
		return permanentf("the server at %s is not a Sentinel; with failover, redisHost must name the Sentinels: %w", addr, err)
	case isDenied(err):
		return permanentf("the Sentinel at %s: its user %q must be allowed +sentinel|get-master-addr-by-name: %w",
			addr, userName(o.SentinelUsername), err)
	case isPermanent(err):
		return permanentf("the Sentinel at %s: check sentinelUsername and sentinelPassword: %w", addr, err)
	}
	return fmt.Errorf("the Sentinel at %s: %w", addr, err)
}

// knownPrimaries describes which primaries a Sentinel knows, if it answers that.
func knownPrimaries(ctx context.Context, client *goredis.SentinelClient) string {
	masters, err := client.Masters(ctx).Result()
	if err != nil {
		return ""
	}
	var names []string
	for _, master := range masters {
		if values, ok := master.(map[any]any); ok {
			names = append(names, fmt.Sprint(values["name"]))
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return fmt.Sprintf(" (it knows %q)", names)
}

// isSentinel reports whether redisHost names a Sentinel. The configured user and password
// may not be valid for it.
func isSentinel(ctx context.Context, o *goredis.UniversalOptions) bool {
	for _, login := range [][2]string{{o.Username, o.Password}, {"", ""}} {
		client := newSentinel(o, o.Addrs[0], login[0], login[1])
		err := client.Masters(ctx).Err()
		_ = client.Close()
		if err == nil || isDenied(err) {
			return true
		}
	}
	return false
}

func newSentinel(o *goredis.UniversalOptions, addr, user, password string) *goredis.SentinelClient {
	return goredis.NewSentinelClient(&goredis.Options{
		Addr:                     addr,
		Username:                 user,
		Password:                 password,
		MaxRetries:               -1,
		DialTimeout:              o.DialTimeout,
		ReadTimeout:              o.ReadTimeout,
		WriteTimeout:             o.WriteTimeout,
		TLSConfig:                o.TLSConfig,
		DialerRetries:            1,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	})
}

// userName returns the user's name in Redis.
func userName(configured string) string {
	if configured == "" {
		return "default"
	}
	return configured
}
