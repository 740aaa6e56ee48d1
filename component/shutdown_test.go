package component

import (
	"fmt"
	"strings"
	"testing"
	"time"

	daprpb "github.com/dapr/dapr/pkg/proto/components/v1"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	"github.com/mortise-lock/mortise/stores/all"
)

func TestRun_ShutdownWithUnreadStream(t *testing.T) {
	r, err := startRun(t, Options{Folder: t.TempDir(), DrainTimeout: 50 * time.Millisecond}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	conn := r.connect(t)
	locks, input := lockpb.NewLockStoreClient(conn), daprpb.NewInputBindingClient(conn)
	if err := initialize(t, locks, "locks", nil); err != nil {
		t.Fatal(err)
	}
	for i := range 300 { // so that the snapshots exceed the flow-control window
		for _, prefix := range []string{"a", "b"} {
			if _, err := tryLock(t, locks, "locks", fmt.Sprint(prefix, i, strings.Repeat("x", 900))); err != nil {
				t.Fatal(err)
			}
		}
	}
	md := &daprpb.MetadataRequest{Properties: map[string]string{"lockStore": "locks", "keys": "a*,b*"}}
	if _, err := input.Init(at(t, "reader"), &daprpb.InputBindingInitRequest{Metadata: md}); err != nil {
		t.Fatal(err)
	}
	stream, err := input.Read(at(t, "reader"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // the first event is sent
		t.Fatal(err)
	}
	for range 100 { // after these the server is blocked on the second event
		if _, err := input.Ping(at(t, "reader"), &daprpb.PingRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}
