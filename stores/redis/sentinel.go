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

// askSentinels asks all Sentinels at once where the primary is, and succeeds with the
// first that knows. go-redis asks too, but reports every trouble as Sentinels that are
// unreachable.
func querySentinels(ctx context.Context, o *goredis.UniversalOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answers := make(chan error, len(o.Addrs))
	for _, addr := range o.Addrs {
		asking.Go(func() { answers <- querySentinel(ctx, o, addr) })
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

// sentinelErrors is what each of the Sentinels answered. It is permanent if all of them
// are.
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

// askSentinel asks one Sentinel where the primary is.
func querySentinel(ctx context.Context, o *goredis.UniversalOptions, addr string) error {
	client := newSentinel(o, addr, o.SentinelUsername, o.SentinelPassword)
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })() // which ends a request without an answer
	_, err := client.GetMasterAddrByName(ctx, o.MasterName).Result()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the Sentinel at %s: %w", addr, ctx.Err())
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

// primaries describes which primaries a Sentinel knows, if it says so.
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

// isSentinel reports whether redisHost names a Sentinel. Its user and password may not be
// those that were configured.
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

// userName is the name of a user, as Redis knows it.
func userName(configured string) string {
	if configured == "" {
		return "default"
	}
	return configured
}
