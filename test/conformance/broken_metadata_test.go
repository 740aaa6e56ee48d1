package conformance

import (
	"context"
	"maps"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

var brokenMetadata = []broken{{
	name:   "keeps no metadata",
	rows:   []string{"a list returns metadata unchanged"},
	inject: changeRequests(func(req *stores.Request) { req.Metadata = nil }),
}, {
	name: "folds the case of metadata",
	rows: []string{"a list returns metadata unchanged"},
	inject: changeRequests(func(req *stores.Request) {
		folded := map[string]string{}
		for key, value := range req.Metadata {
			folded[strings.ToLower(key)] = value
		}
		req.Metadata = folded
	}),
}, {
	name: "truncates long metadata",
	rows: []string{"a list returns metadata unchanged"},
	inject: changeRequests(func(req *stores.Request) {
		req.Metadata = maps.Clone(req.Metadata)
		for key, value := range req.Metadata {
			req.Metadata[key] = value[:min(len(value), 1024)]
		}
	}),
}, {
	name: "adds its own metadata",
	rows: []string{"a lock without metadata is listed without"},
	inject: changeRequests(func(req *stores.Request) {
		req.Metadata = maps.Clone(req.Metadata)
		if req.Metadata == nil {
			req.Metadata = map[string]string{}
		}
		req.Metadata["store"] = "memory"
	}),
}, {
	name: "merges metadata with that of the previous holder",
	rows: []string{"a grant has the metadata of its own request"},
	inject: func(f *faulty) {
		changeRequests(func(req *stores.Request) {
			if before, ok := f.shared.Load(req.Key); ok {
				mixed := maps.Clone(before.(map[string]string))
				maps.Copy(mixed, req.Metadata)
				req.Metadata = mixed
			}
			f.shared.Store(req.Key, maps.Clone(req.Metadata))
		})(f)
	},
}, {
	name: "stores the metadata of refused requests",
	rows: []string{"a refused request leaves no metadata"},
	inject: func(f *faulty) {
		changeRequests(func(req *stores.Request) { f.shared.Store(req.Key, req.Metadata) })(f)
		changeListedLocks(func(l *stores.LockInfo) {
			last, _ := f.shared.Load(l.Key)
			l.Metadata = last.(map[string]string)
		})(f)
	},
}, {
	name: "stores the metadata of renewals",
	rows: []string{"a renewal keeps the metadata"},
	inject: func(f *faulty) {
		changeGrants(func(req stores.Request, _ *stores.Grant) { f.shared.Store(req.Key, req.Metadata) })(f)
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			f.shared.Store(req.Key, req.Metadata)
			return f.Store.Renew(ctx, req)
		}
		changeListedLocks(func(l *stores.LockInfo) {
			last, _ := f.shared.Load(l.Key)
			l.Metadata = last.(map[string]string)
		})(f)
	},
}, {
	name:   "loses the metadata of waiters",
	rows:   []string{"a waiter's grant has the metadata of its request"},
	inject: changeWaits(func(req *stores.Request) { req.Metadata = nil }),
}, {
	name:   "stores no metadata in LockAll",
	rows:   []string{"locks acquired together have the same metadata"},
	inject: changeMultiRequests(func(req *stores.MultiRequest) { req.Metadata = nil }),
}}
