package stores

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// newRegistry returns a registry of two backends.
func newRegistry() *Registry {
	r := NewRegistry("memory")
	r.Register("redis", Backend{Config: &config{}, Open: openAs("redis")})
	r.Register("memory", Backend{Config: &struct {
		Grace string `mapstructure:"restartGrace"`
	}{}, Open: openAs("memory")})
	return r
}

// openedStore records the backend and the component that it was opened from.
type openedStore struct {
	Store
	by   string
	from Component
}

func openAs(name string) func(context.Context, Component) (Store, error) {
	return func(_ context.Context, c Component) (Store, error) { return openedStore{by: name, from: c}, nil }
}

func TestRegistry_Open(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		want string // the backend that opens it
	}{
		{"nothing", nil, "memory"},
		{"an empty store", map[string]string{"store": ""}, "memory"},
		{"a store", map[string]string{"store": "redis"}, "redis"},
		{"a store in capitals", map[string]string{"STORE": "Redis"}, "redis"},
		{"a key of its own", map[string]string{"store": "redis", "redisHost": "h:1"}, "redis"},
		{"a key in another case", map[string]string{"RestartGRACE": "1s"}, "memory"},
		{"daprd's key", map[string]string{"keyPrefix": "none"}, "memory"},
		{"daprd's key in another case", map[string]string{"KEYPREFIX": "none", "store": "redis"}, "redis"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := Component{Name: "locks", Metadata: row.md}
			s, err := newRegistry().Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if got := Unwrap(s).(openedStore); got.by != row.want || got.from.Name != "locks" || len(got.from.Metadata) != len(row.md) {
				t.Errorf("%s opened %+v, want %s", got.by, got.from, row.want)
			}
		})
	}
}

func TestRegistry_OpenInvalidMetadata(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		want string
	}{
		{
			"an unknown store",
			map[string]string{"store": "etcd"},
			`metadata key store: unknown store "etcd", must be one of memory, redis`,
		},
		{
			"a misspelt key",
			map[string]string{"store": "redis", "dialTimout": "pa55word"},
			"metadata key \"dialTimout\": store redis does not support it; the nearest supported key is dialTimeout",
		},
		{
			"a key in the wrong store",
			map[string]string{"redisHost": "pa55word"},
			`metadata key "redisHost": store memory does not support it, but store redis does; add "store: redis" or remove the key`,
		},
		{
			"a key in the wrong store, in another case",
			map[string]string{"store": "redis", "RESTARTGRACE": "pa55word"},
			`metadata key "RESTARTGRACE": store redis does not support it, but store memory does; add "store: memory" or remove the key`,
		},
		{
			"several unknown keys",
			map[string]string{"zz": "", "restartGrac": "pa55word"},
			"metadata key \"restartGrac\": store memory does not support it; the nearest supported key is restartGrace",
		},
		{
			"an unknown key without a value",
			map[string]string{"restartGrac": ""},
			"metadata key \"restartGrac\": store memory does not support it; the nearest supported key is restartGrace",
		},
		{
			"an empty key",
			map[string]string{"": "pa55word"},
			"metadata key \"\": store memory does not support it; the nearest supported key is store",
		},
		{
			"keys that differ in case",
			map[string]string{"Store": "redis", "store": "memory"},
			"metadata keys Store and store differ only in case",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := newRegistry().Open(t.Context(), Component{Metadata: row.md})
			if s != nil || err == nil || err.Error() != row.want {
				t.Errorf("Open returned\n%v, %v, want\n%s", s, err, row.want)
			}
		})
	}
}

func TestRegistry_Explain(t *testing.T) {
	r := NewRegistry("redis")
	r.Register("redis", Backend{Config: &config{}, Open: openAs("redis"), Explain: func(key string) string {
		if strings.HasPrefix(key, "azure") {
			return "Entra ID is not supported"
		}
		return ""
	}})
	for _, row := range []struct{ key, value, want string }{
		{"azureClientID", "pa55word", `metadata key "azureClientID": Entra ID is not supported`},
		{"azureClientID", "", ""},
		{"azureClientID", "false", ""},
		{"dialTimout", "false", "metadata key \"dialTimout\": store redis does not support it; the nearest supported key is dialTimeout"},
	} {
		_, err := r.Open(t.Context(), Component{Metadata: map[string]string{row.key: row.value}})
		if got := fmt.Sprint(err); err == nil && row.want != "" || err != nil && got != row.want {
			t.Errorf("%s=%q: got %v, want %q", row.key, row.value, err, row.want)
		}
	}
}

// newRegistryWithCommon returns newRegistry with the metadata key apiLimit of an API,
// which rejects the value odd.
func newRegistryWithCommon() *Registry {
	r := newRegistry()
	r.Common(&struct {
		Limit string `mapstructure:"apiLimit"`
	}{}, func(md map[string]string) error {
		for key, value := range md {
			if strings.EqualFold(key, "apiLimit") && value == "odd" {
				return errors.New("metadata key apiLimit: must be even")
			}
		}
		return nil
	})
	return r
}

func TestRegistry_Common(t *testing.T) {
	for _, row := range []struct {
		name string
		md   map[string]string
		want string // the error, or empty
	}{
		{"with the default store", map[string]string{"apiLimit": "even"}, ""},
		{"in another case", map[string]string{"APILIMIT": "even"}, ""},
		{"with another store", map[string]string{"store": "redis", "apiLimit": "even", "redisHost": "h:1"}, ""},
		{"with a value that the API rejects", map[string]string{"apiLimit": "odd"}, "metadata key apiLimit: must be even"},
		{
			"with a value that the API rejects and another store",
			map[string]string{"store": "redis", "apiLimit": "odd"},
			"metadata key apiLimit: must be even",
		},
		{
			"as the nearest to a misspelt key",
			map[string]string{"apiLimt": "even"},
			`metadata key "apiLimt": store memory does not support it; the nearest supported key is apiLimit`,
		},
		{
			"after an unknown key",
			map[string]string{"apiLimit": "odd", "zz": ""},
			`metadata key "zz": store memory does not support it; the nearest supported key is store`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := newRegistryWithCommon().Open(t.Context(), Component{Metadata: row.md})
			if (s == nil) != (err != nil) || err == nil && row.want != "" || err != nil && err.Error() != row.want {
				t.Errorf("Open returned\n%v, %v, want\n%s", s, err, row.want)
			}
		})
	}
	if _, err := newRegistry().Open(t.Context(), Component{Metadata: map[string]string{"apiLimit": "even"}}); err == nil {
		t.Error("Open accepted the metadata of an API without Common")
	}
}

func TestRegistry_CommonOfSeveralAPIs(t *testing.T) {
	r := newRegistryWithCommon()
	r.Common(&struct {
		Colour string `mapstructure:"colour"`
	}{}, func(md map[string]string) error {
		if md["colour"] == "" {
			return errors.New("metadata key colour: must not be empty")
		}
		return nil
	})
	for want, md := range map[string]map[string]string{
		"<nil>":                                  {"apiLimit": "even", "colour": "red"},
		"metadata key apiLimit: must be even":    {"apiLimit": "odd", "colour": "red"},
		"metadata key colour: must not be empty": {"apiLimit": "even"},
	} {
		if _, err := r.Open(t.Context(), Component{Metadata: md}); fmt.Sprint(err) != want {
			t.Errorf("%v: Open returned %v, want %s", md, err, want)
		}
	}
}

func TestRegistry_HugeKey(t *testing.T) {
	md := map[string]string{strings.Repeat("k", 1<<17): "pa55word"}
	if _, err := newRegistry().Open(t.Context(), Component{Metadata: md}); err == nil {
		t.Error("Open accepted the key")
	}
}

func TestRegistry_OpenError(t *testing.T) {
	reason := errors.New("no answer")
	r := NewRegistry("lost")
	r.Register("lost", Backend{
		Config: &struct{}{},
		Open:   func(context.Context, Component) (Store, error) { return nil, reason },
	})
	if _, err := r.Open(t.Context(), Component{}); !errors.Is(err, reason) {
		t.Errorf("Open returned %v, want %v", err, reason)
	}
}

func TestRegistry_Names(t *testing.T) {
	r := newRegistry()
	if got, want := r.Names(), []string{"memory", "redis"}; !slices.Equal(got, want) {
		t.Errorf("Names are %q, want %q", got, want)
	}
	if _, ok := r.Config("redis").(*config); !ok {
		t.Errorf("the configuration of redis is a %T", r.Config("redis"))
	}
}

func TestRegistry_DuplicatePanics(t *testing.T) {
	defer func() {
		if got, want := fmt.Sprint(recover()), "stores: backend redis is registered twice"; got != want {
			t.Errorf("Register panicked with %s, want %s", got, want)
		}
	}()
	newRegistry().Register("redis", Backend{})
}

func FuzzRegistry_Open(f *testing.F) {
	f.Add("redisHost", "h:1")
	f.Add("", "")
	f.Add("store", "memory")
	f.Add("keyPrefix", "none")
	f.Add("\u017ftore", "redis") // a long s, which folds to s
	f.Add(strings.Repeat("k", 100), strings.Repeat("v", 100))
	f.Add("\xff\xfe", "\x00")
	f.Fuzz(func(t *testing.T, key, value string) {
		r := newRegistry()
		s, err := r.Open(t.Context(), Component{Metadata: map[string]string{key: value}})
		store := "memory"
		if strings.EqualFold(key, "store") && value != "" {
			store = strings.ToLower(value)
		}
		known := slices.Contains(r.Names(), store) && contains(Keys(r.Config(store)), key)
		if (err == nil) != known || (s == nil) == known {
			t.Errorf("Open returned %v, %v; known is %v", s, err, known)
		}
		if err != nil && len(value) >= 24 && !strings.EqualFold(key, "store") && !strings.Contains(key, value) &&
			strings.Contains(err.Error(), value) {
			t.Errorf("%q contains the value", err)
		}
	})
}

func TestRegistry_Clone(t *testing.T) {
	r := newRegistry()
	c := r.Clone()
	c.Register("added", Backend{Config: struct{}{}})
	c.Common(&struct {
		Limit string `mapstructure:"apiLimit"`
	}{}, func(map[string]string) error { return nil })
	if err := r.Check("added"); err == nil {
		t.Error("the original has a backend of the copy")
	}
	if err := c.Check("redis"); err != nil {
		t.Errorf("the copy does not have a backend of the original: %v", err)
	}
	if _, err := r.Open(t.Context(), Component{Metadata: map[string]string{"apiLimit": "1"}}); err == nil {
		t.Error("the original accepts a metadata key of the copy")
	}
}
