package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"
)

const (
	// probePrefix begins the keys that are written only to test whether Redis permits it.
	probePrefix = "mortise:probe:"
	// messageTimeout is how long a message may take that a Store publishes to itself.
	messageTimeout = 2 * time.Second
)

// probe checks whether Redis permits what calls need. None of the keys that it writes is
// a lock, and all of them expire.
func (s *Store) probe(ctx context.Context, user string) error {
	key, m := probePrefix+uuid.NewString(), &missing{user: userName(user)}
	if err := s.probeCommands(ctx, key, m); err != nil {
		return err
	}
	if err := s.probePubSub(ctx, m); err != nil {
		return err
	}
	if err := m.err(); err != nil {
		return err
	}
	if err := s.probeScripts(ctx, key); err != nil {
		return fmt.Errorf("run the scripts on the key %q: %w", key, err)
	}
	return s.probeGrant(ctx)
}

// requiredCommands returns the commands of the scripts and of the Store itself, each on a
// key that holds a string: a command for another type fails with WRONGTYPE if it is
// permitted, and writes nothing.
func (s *Store) requiredCommands(key string) [][]any {
	return [][]any{
		{"time"}, {"set", key, "", "px", 5000}, {"get", key}, {"exists", key}, {"pttl", key}, {"pexpire", key, 5000},
		{"hset", key, "f", "v"}, {"hget", key, "f"}, {"hmget", key, "f"}, {"hgetall", key}, {"hvals", key},
		{"hdel", key, "f"}, {"hexists", key, "f"}, {"hlen", key},
		{"zadd", key, 1, "m"}, {"zrem", key, "m"}, {"zrange", key, 0, -1}, {"zrangebyscore", key, 0, 1}, {"zcard", key},
		{"sadd", key, "m"}, {"srem", key, "m"}, {"smembers", key},
		{"exists", tokenKey, groupsKey, "mortise:watched"}, {"srem", groupsKey, key}, {"pexpire", "mortise:watched", 5000},
		{"del", key, recordPrefix + key, "mortise:queue:" + key, "mortise:waiter:" + key, "mortise:blocks:" + key,
			"mortise:waiting:" + key, "mortise:process:" + key, "mortise:revoked:" + key, "mortise:group:" + key},
		{"scan", 0, "match", key, "count", 1, "type", "string"}, {"sscan", groupsKey, 0, "count", 1},
		{"publish", s.events, ""}, {"publish", wakePrefix + s.id, ""}, {"publish", watchPrefix + s.id, ""},
		{"eval", "return 0", 0}, {"evalsha", strings.Repeat("0", 40), 0},
	}
}

// probeCommands sends each command separately, and records those that Redis rejects.
func (s *Store) probeCommands(ctx context.Context, key string, m *missing) error {
	pipe := s.client.Pipeline()
	for _, args := range s.requiredCommands(key) {
		pipe.Do(ctx, args...)
	}
	cmds, err := pipe.Exec(ctx)
	if err != nil && !isServerError(err) {
		return fmt.Errorf("connect: %w", err)
	}
	for _, cmd := range cmds {
		m.record(cmd.Name(), cmd.Err())
	}
	return nil
}

// probePubSub subscribes as waiters and watchers do, and waits for its own message.
func (s *Store) probePubSub(ctx context.Context, m *missing) error {
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
	defer cancel()
	channels := []string{wakePrefix + s.id, s.events, watchPrefix + s.id}
	pubsub := s.client.Subscribe(ctx, channels...)
	defer pubsub.Close()
	defer context.AfterFunc(ctx, func() { _ = pubsub.Close() })() // ends Receive
	for {
		message, err := pubsub.Receive(ctx)
		switch message := message.(type) {
		case *goredis.Subscription:
			if message.Count == len(channels) {
				err = s.client.Publish(ctx, channels[0], "").Err()
			}
		case *goredis.Message:
			if message.Channel == channels[0] {
				return nil
			}
		}
		if isServerError(err) {
			m.record("subscribe", err)
			return nil
		} else if err != nil {
			return fmt.Errorf("subscribe to the channels mortise:* and receive a message: %w", err)
		}
	}
}

// probeScripts runs the scripts so that they find nothing to do, which also loads them
// into Redis. Ping tests those that take locks.
func (s *Store) probeScripts(ctx context.Context, key string) error {
	pipe := s.client.Pipeline()
	run := func(script *goredis.Script, args ...any) {
		script.Eval(ctx, pipe, []string{key}, append([]any{s.id, s.maxToken.Load(), s.events}, args...)...)
	}
	run(unlockScript, "probe", "RELEASED")
	run(lockScript, key, "probe", 1, "", false, 0, key, 0)
	run(leaveScript, key, "probe", 0, "")
	run(checkScript)
	run(withdrawScript, key)
	renewScript.Eval(ctx, pipe, []string{key, recordPrefix + key}, "probe", 1)
	getScript.Eval(ctx, pipe, []string{key})
	for _, script := range []*goredis.Script{listScript, groupScript} {
		script.Eval(ctx, pipe, nil, key)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// missing collects the commands, keys and channels that Redis denies or does not know.
type missing struct {
	user              string
	commands, unknown []string
	keys, channels    bool
	other             []string
	firstPermanent    error // the first permanent error
	firstTransient    error // the first transient error
}

// record records the answer to a command.
func (m *missing) record(command string, err error) {
	switch {
	case err == nil || errors.Is(err, goredis.Nil) || goredis.HasErrorPrefix(err, "WRONGTYPE") || goredis.HasErrorPrefix(err, "NOSCRIPT"):
		return
	case !isPermanent(err):
		m.firstTransient = cmp.Or(m.firstTransient, err)
		return
	case isUnknown(err):
		m.unknown = appendUnique(m.unknown, commandIn(command, err))
	case isDenied(err):
		m.addDenied(commandIn(command, err), serverMessage(err))
	default:
		m.other = append(m.other, command)
	}
	m.firstPermanent = cmp.Or(m.firstPermanent, err)
}

// quotedCommand matches the command that a server's answer names.
var quotedCommand = regexp.MustCompile("command ['`]([^'`]+)['`]|'([^']+)' command")

// commandIn returns the command that the answer names, else the command that was sent.
// go-redis may have sent another one for a new connection.
func commandIn(command string, err error) string {
	if match := quotedCommand.FindStringSubmatch(serverMessage(err)); match != nil {
		return strings.ToLower(match[1] + match[2])
	}
	return command
}

// addDenied records what the access control list denies: a command, or the use of a key
// or channel.
func (m *missing) addDenied(command, answer string) {
	switch {
	case strings.Contains(answer, " command"):
		m.commands = appendUnique(m.commands, command)
	case strings.Contains(answer, " channel"):
		m.channels = true
	default:
		m.keys = true
	}
}

// err returns an error that names what is missing and how to grant it, or nil.
func (m *missing) err() error {
	if m.firstPermanent == nil {
		return m.firstTransient
	}
	var texts []string
	if may := m.describeDenied(); len(may) > 0 {
		texts = append(texts, fmt.Sprintf("the user %q may not %s; grant it with ACL SETUSER %s %s",
			m.user, strings.Join(may, " or "), m.user, strings.Join(m.aclRules(), " ")))
	}
	if len(m.unknown) > 0 {
		texts = append(texts, fmt.Sprintf("the server, or a proxy before it, does not know the %s, which Mortise needs: "+
			"it must be neither renamed nor disabled", plural("command", m.unknown)))
	}
	if len(m.other) > 0 {
		texts = append(texts, "the server rejects the "+plural("command", m.other))
	}
	return permanentf("%s: %w", strings.Join(texts, "; "), m.firstPermanent)
}

// describeDenied lists what the user may not do.
func (m *missing) describeDenied() (may []string) {
	if len(m.commands) > 0 {
		may = append(may, "run the "+plural("command", m.commands))
	}
	if m.keys {
		may = append(may, "use the keys mortise:*")
	}
	if m.channels {
		may = append(may, "use the channels mortise:*")
	}
	return may
}

// aclRules returns the rules of an access control list that would grant it.
func (m *missing) aclRules() (rules []string) {
	for _, command := range m.commands {
		rules = append(rules, "+"+command)
	}
	if m.keys {
		rules = append(rules, "~mortise:*")
	}
	if m.channels {
		rules = append(rules, "&mortise:*")
	}
	return rules
}

func plural(noun string, names []string) string {
	if len(names) > 1 {
		noun += "s"
	}
	return noun + " " + strings.Join(names, ", ")
}

func appendUnique(names []string, name string) []string {
	if slices.Contains(names, name) {
		return names
	}
	return append(names, name)
}
