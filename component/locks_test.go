package component

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	lockpb "github.com/mortise-lock/mortise/proto/dapr/proto/components/v1"
	lockspb "github.com/mortise-lock/mortise/proto/mortise/locks/v1"
	"github.com/mortise-lock/mortise/stores"
	"github.com/mortise-lock/mortise/stores/all"
)

var hour = durationpb.New(time.Hour)

// checkReason checks the code and the reason of an error.
func checkReason(t *testing.T, what string, err error, code codes.Code, reason string) {
	t.Helper()
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && s.Code() == code && info.GetReason() == reason {
			return
		}
	}
	t.Errorf("%s: %v with %v, want %v and %s", what, s, s.Details(), code, reason)
}

// lockDisk takes lock disk for ann.
func lockDisk(t *testing.T, locks lockspb.LocksClient) {
	t.Helper()
	resp, err := locks.TryLock(t.Context(), &lockspb.TryLockRequest{Key: "disk", Owner: "ann", Ttl: hour})
	if err != nil || !resp.GetAcquired() {
		t.Fatalf("%v, %v", resp, err)
	}
}

// waitForDisk waits for lock disk for bob. The channel gets the result, which is an error
// even if the lock is granted.
func waitForDisk(ctx context.Context, locks lockspb.LocksClient) <-chan error {
	ended := make(chan error, 1)
	go func() {
		resp, err := locks.Lock(ctx, &lockspb.LockRequest{Key: "disk", Owner: "bob", Ttl: hour})
		if err == nil {
			err = fmt.Errorf("granted: %v", resp)
		}
		ended <- err
	}()
	return ended
}

// countWaiters returns the number of waiters of lock disk, which ann must hold.
func countWaiters(t *testing.T, locks lockspb.LocksClient) int {
	t.Helper()
	rows := list(t, locks)
	if len(rows) != 1 || rows[0].GetKey() != "disk" || rows[0].GetOwner() != "ann" {
		t.Errorf("the locks are %v", rows)
		return -1
	}
	return int(rows[0].GetWaiters())
}

// list returns all locks.
func list(t *testing.T, locks lockspb.LocksClient) (rows []*lockspb.Lock) {
	t.Helper()
	stream, err := locks.List(t.Context(), &lockspb.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, m.GetLocks()...)
	}
}

// timeoutContext returns the ctx of a call that must end before its ctx.
func timeoutContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// awaitWaiter waits until lock disk has a waiter.
func awaitWaiter(t *testing.T, locks lockspb.LocksClient) {
	t.Helper()
	for countWaiters(t, locks) < 1 && t.Context().Err() == nil && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
}

func TestRun_ShutdownEndsWaits(t *testing.T) {
	// The drain timeout is much longer than end waits: waiters must not delay the
	// shutdown.
	r, err := startRun(t, Options{Folder: t.TempDir(), DrainTimeout: time.Hour}, all.Backends("memory"))
	if err != nil {
		t.Fatal(err)
	}
	conn := r.connect(t)
	if err := initialize(t, lockpb.NewLockStoreClient(conn), "a", nil); err != nil {
		t.Fatal(err)
	}
	locks := lockspb.NewLocksClient(conn)
	lockDisk(t, locks)
	watch, err := locks.Watch(timeoutContext(t), &lockspb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.GetKind() != lockspb.WatchResponse_SNAPSHOT {
		t.Fatalf("%v, %v", m, err)
	}
	waiting := waitForDisk(timeoutContext(t), locks)
	awaitWaiter(t, locks)
	r.stop()
	checkReason(t, "Lock", <-waiting, codes.Unavailable, "SHUTTING_DOWN")
	_, err = watch.Recv()
	checkReason(t, "Watch", err, codes.Unavailable, "SHUTTING_DOWN")
	if err := r.end(t); err != nil {
		t.Error(err)
	}
}

func TestRun_ReopenEndsWaits(t *testing.T) {
	r := start(t)
	sidecar := lockpb.NewLockStoreClient(r.connect(t))
	if err := initialize(t, sidecar, "a", nil); err != nil {
		t.Fatal(err)
	}
	locks := lockspb.NewLocksClient(r.connect(t))
	lockDisk(t, locks)
	waiting := waitForDisk(timeoutContext(t), locks)
	awaitWaiter(t, locks)
	if err := initialize(t, sidecar, "a", map[string]string{"restartGrace": "1ms"}); err != nil {
		t.Fatal(err)
	}
	checkReason(t, "Lock", <-waiting, codes.Unavailable, "SHUTTING_DOWN")
	if n := countWaiters(t, locks); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
	again := waitForDisk(timeoutContext(t), locks)
	awaitWaiter(t, locks)
	if _, err := locks.Unlock(t.Context(), &lockspb.UnlockRequest{Key: "disk", Owner: "ann"}); err != nil {
		t.Error(err)
	}
	if err := <-again; !strings.HasPrefix(err.Error(), "granted") {
		t.Errorf("Lock after the reopening: %v", err)
	}
}

func TestRun_AmbiguousComponent(t *testing.T) {
	r := start(t)
	locks := lockspb.NewLocksClient(r.connect(t))
	try := func(store string) error {
		_, err := locks.TryLock(t.Context(), &lockspb.TryLockRequest{Store: store, Key: "k", Owner: "o", Ttl: hour})
		return err
	}
	checkReason(t, "without a sidecar", try("a"), codes.FailedPrecondition, "NOT_INITIALIZED")
	for i, grace := range []string{"0s", "1ms"} {
		if err := initialize(t, lockpb.NewLockStoreClient(r.connect(t)), "a", map[string]string{"restartGrace": grace}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := try(""); err != nil {
				t.Errorf("with one sidecar: %v", err)
			}
		}
	}
	checkReason(t, "with two sidecars that differ", try("a"), codes.FailedPrecondition, "AMBIGUOUS")
}

// serveInMemory serves the memory store over gRPC in a bubble. It returns a function that
// connects clients; through may wrap a client's connection.
func serveInMemory(t *testing.T, o TCPOptions) func(through func(net.Conn) net.Conn) lockspb.LocksClient {
	t.Helper()
	return serveServicesInMemory(t, o, openServices(t, map[string]string{"store": "memory"}))
}

// serveServicesInMemory is serveInMemory with other services.
func serveServicesInMemory(t *testing.T, o TCPOptions, s services) func(through func(net.Conn) net.Conn) lockspb.LocksClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	n, err := newTCPListeners(o, discard)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, n.grpcServer(s), l)
	return func(through func(net.Conn) net.Conn) lockspb.LocksClient {
		conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := l.DialContext(ctx)
				if err != nil {
					return nil, err
				}
				return through(c), nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return lockspb.NewLocksClient(conn)
	}
}

// unchanged does not wrap the connection.
func unchanged(c net.Conn) net.Conn { return c }

func TestLock_CanceledWait(t *testing.T) {
	for _, row := range []struct {
		name   string
		ctx    func(context.Context) (context.Context, context.CancelFunc)
		cancel bool
		code   codes.Code
	}{
		{"by the client", context.WithCancel, true, codes.Canceled},
		{"by the deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Minute)
		}, false, codes.DeadlineExceeded},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				locks := serveInMemory(t, loopback)(unchanged)
				lockDisk(t, locks)
				ctx, cancel := row.ctx(t.Context())
				defer cancel()
				waiting := waitForDisk(ctx, locks)
				synctest.Wait()
				if n := countWaiters(t, locks); n != 1 {
					t.Errorf("%d waiters, want 1", n)
				}
				if row.cancel {
					cancel()
				}
				if err := <-waiting; status.Code(err) != row.code {
					t.Errorf("ended with %v", err)
				}
				synctest.Wait()
				if n := countWaiters(t, locks); n != 0 {
					t.Errorf("%d waiters are left", n)
				}
				if _, err := locks.Unlock(t.Context(), &lockspb.UnlockRequest{Key: "disk", Owner: "ann"}); err != nil {
					t.Error(err)
				}
				if rows := list(t, locks); len(rows) != 0 {
					t.Errorf("locks are left: %v", rows)
				}
			})
		})
	}
}

// blackholeConn is a connection that loses all data while dropping is true.
type blackholeConn struct {
	net.Conn
	dropping *atomic.Bool
}

func (m blackholeConn) Read(b []byte) (int, error) {
	for {
		if n, err := m.Conn.Read(b); err != nil || !m.dropping.Load() {
			return n, err
		}
	}
}

func (m blackholeConn) Write(b []byte) (int, error) {
	if m.dropping.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestLimits_KeepaliveEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect := serveInMemory(t, loopback)
		locks := connect(unchanged)
		var dropping atomic.Bool
		lost := connect(func(c net.Conn) net.Conn { return blackholeConn{c, &dropping} })
		lockDisk(t, locks)
		waiting := waitForDisk(t.Context(), lost)
		time.Sleep(time.Minute) // a client that answers pings may wait any time
		if n := countWaiters(t, locks); n != 1 {
			t.Errorf("%d waiters, want 1", n)
		}
		dropping.Store(true)
		time.Sleep(keepaliveTime + keepaliveTimeout)
		synctest.Wait()
		if n := countWaiters(t, locks); n != 0 {
			t.Errorf("%d waiters are left", n)
		}
		if err := <-waiting; status.Code(err) != codes.Unavailable {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestLocks_ListLargerThanOneMessage(t *testing.T) {
	t.Parallel()
	const rows = 3000
	locks := serveInMemory(t, loopback)(unchanged)
	fill := strings.Repeat("x", stores.MaxKeyLen-4)
	for i := range rows {
		resp, err := locks.TryLock(t.Context(), &lockspb.TryLockRequest{
			Key: fmt.Sprintf("%04d%s", i, fill), Owner: fill, Ttl: hour, Metadata: map[string]string{"purpose": fill},
		})
		if err != nil || !resp.GetAcquired() {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	check := func(what string, got []*lockspb.Lock) {
		if len(got) != rows {
			t.Errorf("%s: %d rows", what, len(got))
		}
		for i, l := range got {
			if l.GetKey()[:4] != fmt.Sprintf("%04d", i) || l.GetMetadata()["purpose"] != fill {
				t.Fatalf("%s: row %d is %.99s", what, i, l)
			}
		}
	}
	check("List", list(t, locks))
	watch, err := locks.Watch(t.Context(), &lockspb.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var snapshot []*lockspb.Lock
	for more := true; more; {
		m, err := watch.Recv()
		if err != nil || m.GetKind() != lockspb.WatchResponse_SNAPSHOT || m.GetMissed() {
			t.Fatalf("%.99v, %v", m, err)
		}
		snapshot, more = append(snapshot, m.GetLocks()...), m.GetMore()
	}
	check("Watch", snapshot)
}
