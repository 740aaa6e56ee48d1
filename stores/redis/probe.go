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
	// probePrefix begins the keys of what is written only to see whether it can be.
	probePrefix = "mortise:probe:"
	// pushTimeout is how long a message may take that a Store publishes to itself.
	messageTimeout = 2 * time.Second
)

// probe finds out whether Redis lets the user do what calls need. Nothing that it writes
// looks like a lock, and all of it expires.
func (s *Store) probe(ctx context.Context, user string) error {
	key, l := probePrefix+uuid.NewString(), &missing{user: userName(user)}
	if err := s.probeCommands(ctx, key, l); err != nil {
		return err
	}
	if err := s.probePubSub(ctx, l); err != nil {
		return err
	}
	if err := l.err(); err != nil {
		return err
	}
	if err := s.probeScripts(ctx, key); err != nil {
		return fmt.Errorf("run the scripts on the key %q: %w", key, err)
	}
	return s.probeGrant(ctx)
}

// needs are the commands by which the scripts and the Store itself ask Redis, each on a
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

// probeCommands runs each command by itself, and adds those that are not to be had to the
// lack.
func (s *Store) probeCommands(ctx context.Context, key string, l *missing) error {
	pipe := s.client.Pipeline()
	for _, args := range s.requiredCommands(key) {
		pipe.Do(ctx, args...)
	}
	cmds, err := pipe.Exec(ctx)
	if err != nil && !isServerError(err) {
		return fmt.Errorf("connect: %w", err)
	}
	for _, cmd := range cmds {
		l.record(cmd.Name(), cmd.Err())
	}
	return nil
}

// probePubSub subscribes as waiters and watchers do, and waits for a message of its own.
func (s *Store) probePubSub(ctx context.Context, l *missing) error {
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
	defer cancel()
	channels := []string{wakePrefix + s.id, s.events, watchPrefix + s.id}
	pubsub := s.client.Subscribe(ctx, channels...)
	defer pubsub.Close()
	defer context.AfterFunc(ctx, func() { _ = pubsub.Close() })() // which ends Receive
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
			l.record("subscribe", err)
			return nil
		} else if err != nil {
			return fmt.Errorf("subscribe to the channels mortise:* and receive a message: %w", err)
		}
	}
}

// probeScripts runs the scripts, which so are known to Redis, in ways in which they find
// nothing to do. What takes locks is left to Ping.
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

// lack collects what Redis does not let the user do.
type missing struct {
	user              string
	commands, unknown []string
	keys, channels    bool
	other             []string
	firstPermanent    error // that is permanent
	firstTransient    error // the first that is not
}

// add notes the answer to a command.
func (l *missing) record(command string, err error) {
	switch {
	case err == nil || errors.Is(err, goredis.Nil) || goredis.HasErrorPrefix(err, "WRONGTYPE") || goredis.HasErrorPrefix(err, "NOSCRIPT"):
		return
	case !isPermanent(err):
		l.firstTransient = cmp.Or(l.firstTransient, err)
		return
	case isUnknown(err):
		l.unknown = appendUnique(l.unknown, commandIn(command, err))
	case isDenied(err):
		l.addDenied(commandIn(command, err), serverMessage(err))
	default:
		l.other = append(l.other, command)
	}
	l.firstPermanent = cmp.Or(l.firstPermanent, err)
}

// quoted finds the command that a server's answer names.
var quotedCommand = regexp.MustCompile("command ['`]([^'`]+)['`]|'([^']+)' command")

// named returns the command that the answer is about. It may be one that go-redis sends
// for a new connection.
func commandIn(command string, err error) string {
	if m := quotedCommand.FindStringSubmatch(serverMessage(err)); m != nil {
		return strings.ToLower(m[1] + m[2])
	}
	return command
}

// denied notes what the access control list forbids: a command, or the use of a key or
// channel.
func (l *missing) addDenied(command, answer string) {
	switch {
	case strings.Contains(answer, " command"):
		l.commands = appendUnique(l.commands, command)
	case strings.Contains(answer, " channel"):
		l.channels = true
	default:
		l.keys = true
	}
}

// err names what is missing and how to get it. It is nil if nothing is.
func (l *missing) err() error {
	if l.firstPermanent == nil {
		return l.firstTransient
	}
	var texts []string
	if may := l.describeDenied(); len(may) > 0 {
		texts = append(texts, fmt.Sprintf("the user %q may not %s; grant it with ACL SETUSER %s %s",
			l.user, strings.Join(may, " or "), l.user, strings.Join(l.aclRules(), " ")))
	}
	if len(l.unknown) > 0 {
		texts = append(texts, fmt.Sprintf("the server, or a proxy before it, does not know the %s, which Mortise needs: "+
			"it must be neither renamed nor disabled", plural("command", l.unknown)))
	}
	if len(l.other) > 0 {
		texts = append(texts, "the server refuses the "+plural("command", l.other))
	}
	return permanentf("%s: %w", strings.Join(texts, "; "), l.firstPermanent)
}

// forbidden lists what the user may not do.
func (l *missing) describeDenied() (may []string) {
	if len(l.commands) > 0 {
		may = append(may, "run the "+plural("command", l.commands))
	}
	if l.keys {
		may = append(may, "use the keys mortise:*")
	}
	if l.channels {
		may = append(may, "use the channels mortise:*")
	}
	return may
}

// rules are the rules of an access control list that would grant it.
func (l *missing) aclRules() (rules []string) {
	for _, command := range l.commands {
		rules = append(rules, "+"+command)
	}
	if l.keys {
		rules = append(rules, "~mortise:*")
	}
	if l.channels {
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
