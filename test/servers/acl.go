package servers

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

// The documented Redis user of Mortise.
const (
	User     = "mortise"
	Password = "PASSWORD"
)

// documented matches the command ACL SETUSER with its lines, in text or in a comment.
var documented = regexp.MustCompile(`(?m)^[ #]*ACL (SETUSER .*(?:\n[ #]+[&+].*)+)`)

// DocumentedACL returns the arguments of the command ACL in a file.
func DocumentedACL(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	command := documented.FindSubmatch(text)
	if command == nil {
		t.Fatalf("%s must contain ACL SETUSER", path)
	}
	return slices.DeleteFunc(strings.Fields(string(command[1])), func(field string) bool { return field == "#" })
}

// StartRestrictedRedis starts a server whose default user is disabled. It has an
// administrator, whose client it returns, and the user that a file documents, which may
// also use the keys of some patterns.
func StartRestrictedRedis(t testing.TB, path string, patterns ...string) (*Redis, *goredis.Client) {
	t.Helper()
	server := StartRedis(t, "--databases", "1024", "--user", "default", "off", "--user", "admin", "on", ">admin", "~*", "&*", "+@all")
	admin := server.Client(func(o *goredis.Options) { o.Username, o.Password = "admin", "admin" })
	SetACL(t, admin, append(DocumentedACL(t, path), patterns...)...)
	return server, admin
}

// SetACL runs the command ACL.
func SetACL(t testing.TB, admin *goredis.Client, args ...string) {
	t.Helper()
	command := []any{"ACL"}
	for _, arg := range args {
		command = append(command, arg)
	}
	if err := admin.Do(t.Context(), command...).Err(); err != nil {
		t.Fatalf("ACL %q: %v", args, err)
	}
}
