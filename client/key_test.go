package client_test

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mortise-lock/mortise/client"
)

func TestLease_Key(t *testing.T) {
	acme := func(ctx context.Context) context.Context { return client.WithTenant(ctx, "acme") }
	shop := []client.Option{client.Namespace("shop")}
	for _, row := range []struct {
		name     string
		defaults []client.Option
		ctx      func(context.Context) context.Context
		opts     []client.Option
		want     string
	}{
		{"the resource as it is", nil, nil, nil, "a:b"},
		{"in a namespace", shop, nil, nil, "shop:~:a:b"},
		{"of a tenant", nil, nil, []client.Option{client.Tenant("acme")}, ":acme:a:b"},
		{"of ctx's tenant in a namespace", shop, acme, nil, "shop:acme:a:b"},
		{"of all tenants", shop, acme, []client.Option{client.Global()}, "shop:~:a:b"},
		{"of all where there is no namespace", nil, acme, []client.Option{client.Global()}, "a:b"},
		{"of the client's tenant", []client.Option{client.Tenant("bolt")}, nil, nil, ":bolt:a:b"},
		{"of ctx's tenant before the client's", []client.Option{client.Tenant("bolt")}, acme, nil, ":acme:a:b"},
		{"of the call's tenant before ctx's", shop, acme, []client.Option{client.Tenant("cork")}, "shop:cork:a:b"},
		{"in the call's namespace", shop, nil, []client.Option{client.Namespace("yard")}, "yard:~:a:b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := setup(t)
				ctx := t.Context()
				if row.ctx != nil {
					ctx = row.ctx(ctx)
				}
				l, err := c.With(row.defaults...).Lock(ctx, "a:b", row.opts...)
				if err != nil {
					t.Fatal(err)
				}
				if l.Key() != row.want || n.ownerOf(row.want) == "" {
					t.Errorf("the key is %q, want %q", l.Key(), row.want)
				}
				unlock(t, l)
			})
		})
	}
}

func TestClient_With(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, client.TTL(time.Minute), client.Metadata(map[string]string{"host": "h", "for": "x"}))
		d := c.With(client.TTL(time.Hour), client.Metadata(map[string]string{"for": "y"}))
		a, b := lock(t, c, "a"), lock(t, d, "b", client.Metadata(map[string]string{"more": "z"}))
		locks, err := c.List(t.Context(), "")
		if err != nil || len(locks) != 2 {
			t.Fatalf("List returned %v, %v", locks, err)
		}
		if locks[0].TTL != time.Minute || locks[1].TTL != time.Hour {
			t.Errorf("the TTLs are %v and %v", locks[0].TTL, locks[1].TTL)
		}
		if !maps.Equal(locks[0].Metadata, map[string]string{"host": "h", "for": "x"}) ||
			!maps.Equal(locks[1].Metadata, map[string]string{"host": "h", "for": "y", "more": "z"}) {
			t.Errorf("the metadata are %v and %v", locks[0].Metadata, locks[1].Metadata)
		}
		unlock(t, a)
		unlock(t, b)
	})
}
