package conformance

import (
	"context"
	"maps"
	"strings"

	"github.com/mortise-lock/mortise/stores"
)

var brokenMetadata = []broken{{
	what:   "keeps no metadata",
	caught: []string{"a list returns metadata unchanged"},
	with:   asks(func(req *stores.Request) { req.Metadata = nil }),
}, {
	what:   "folds the case of metadata",
	caught: []string{"a list returns metadata unchanged"},
	with: asks(func(req *stores.Request) {
		folded := map[string]string{}
		for key, value := range req.Metadata {
			folded[strings.ToLower(key)] = value
		}
		req.Metadata = folded
	}),
}, {
	what:   "cuts long metadata",
	caught: []string{"a list returns metadata unchanged"},
	with: asks(func(req *stores.Request) {
		req.Metadata = maps.Clone(req.Metadata)
		for key, value := range req.Metadata {
			req.Metadata[key] = value[:min(len(value), 1024)]
		}
	}),
}, {
	what:   "adds metadata of its own",
	caught: []string{"a lock without metadata is listed without"},
	with: asks(func(req *stores.Request) {
		req.Metadata = maps.Clone(req.Metadata)
		if req.Metadata == nil {
			req.Metadata = map[string]string{}
		}
		req.Metadata["store"] = "memory"
	}),
}, {
	what:   "mixes metadata with that of who held the lock before",
	caught: []string{"a grant has the metadata of its own request"},
	with: func(f *faulty) {
		asks(func(req *stores.Request) {
			if before, ok := f.notes.Load(req.Key); ok {
				mixed := maps.Clone(before.(map[string]string))
				maps.Copy(mixed, req.Metadata)
				req.Metadata = mixed
			}
			f.notes.Store(req.Key, maps.Clone(req.Metadata))
		})(f)
	},
}, {
	what:   "writes down the metadata of who is refused",
	caught: []string{"a refused request leaves no metadata"},
	with: func(f *faulty) {
		asks(func(req *stores.Request) { f.notes.Store(req.Key, req.Metadata) })(f)
		rewrites(func(l *stores.LockInfo) {
			last, _ := f.notes.Load(l.Key)
			l.Metadata = last.(map[string]string)
		})(f)
	},
}, {
	what:   "takes the metadata of a renewal",
	caught: []string{"a renewal keeps the metadata"},
	with: func(f *faulty) {
		answers(func(req stores.Request, _ *stores.Grant) { f.notes.Store(req.Key, req.Metadata) })(f)
		f.renew = func(ctx context.Context, req stores.Request) (stores.Grant, error) {
			f.notes.Store(req.Key, req.Metadata)
			return f.Store.Renew(ctx, req)
		}
		rewrites(func(l *stores.LockInfo) {
			last, _ := f.notes.Load(l.Key)
			l.Metadata = last.(map[string]string)
		})(f)
	},
}, {
	what:   "forgets metadata while somebody waits",
	caught: []string{"a waiter's grant has the metadata of its request"},
	with:   waits(func(req *stores.Request) { req.Metadata = nil }),
}, {
	what:   "keeps no metadata of several locks",
	caught: []string{"locks acquired together have the same metadata"},
	with:   asksAll(func(req *stores.MultiRequest) { req.Metadata = nil }),
}}
