package rtm

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/metadata"
)

func TestSetLock_ChannelLimit(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		for _, row := range []struct {
			name     string
			metadata map[string]string
			most     int
		}{
			{"of RTM", nil, 32},
			{"of the component", map[string]string{"rtmLocksPerChannel": "3"}, 3},
		} {
			t.Run(row.name, func(t *testing.T) {
				p.withEnv(t, row.metadata, func(w *env) { w.checkLimit(row.most) })
			})
		}
	})
}

// checkLimit fills a channel with locks, and checks which operations succeed then.
func (w *env) checkLimit(most int) {
	ann := w.user("ann")
	desk := func(i int) request { return frontDesk.withLock(fmt.Sprint("desk ", i)) }
	garden, other := frontDesk, frontDesk
	garden.channel, other.kind = "garden", streamType
	for i := range most {
		ann.must(setLock, desk(i))
	}
	ann.must(acquireLock, desk(0))
	for _, step := range []struct {
		call    string
		request request
		code    int32
	}{
		{setLock, desk(most), -14001},
		{setLock, desk(0), -14004},
		{setLock, desk(1), -14004},
		{setLock, garden, 0},
		{setLock, other, 0},
		{acquireLock, desk(1), 0},
		{releaseLock, desk(1), 0},
		{setLock, desk(most), -14001},
		{removeLock, desk(0), 0},
		{setLock, desk(most), 0},
		{setLock, desk(0), -14001},
		{removeLock, desk(1), 0},
		{setLock, desk(0), 0},
	} {
		if got := ann.code(step.call, step.request); got != step.code {
			w.Errorf("code of %s of %q in %q = %d, want %d", step.call, step.request.lock, step.request.channel, got, step.code)
		}
	}
	if got := len(ann.locks(frontDesk)); got != most {
		w.Errorf("the channel has %d locks, want %d", got, most)
	}
}

func TestChannelTypes(t *testing.T) {
	forEachTarget(t, func(t *testing.T, p target) {
		p.withEnv(t, nil, func(w *env) {
			ann, stream := w.user("ann"), frontDesk
			stream.kind = streamType
			ofStream, _ := w.user("dora").subscribe(stream)
			ann.must(setLock, frontDesk)
			ann.must(acquireLock, frontDesk)
			for _, call := range []string{acquireLock, releaseLock, revokeLock, removeLock} {
				if got := ann.code(call, stream); got != -14008 {
					w.Errorf("code of %s in the other channel = %d, want -14008", call, got)
				}
			}
			ann.must(setLock, stream)
			if got := ann.state(stream); got != "free" {
				w.Errorf("state of the other channel's lock = %s, want free", got)
			}
			w.user("bob").must(acquireLock, stream)
			ann.must(releaseLock, frontDesk)
			if got := describe(ofStream.channelEvents()); got != "SET, ACQUIRED bob" {
				w.Errorf("events of the other channel = %q", got)
			}
		})
	})
}

// TestComponentName_GRPC names the component by a header, or not at all. Over HTTP its
// name is part of the path.
func TestComponentName_GRPC(t *testing.T) {
	target{openAPI: openGRPC}.withEnv(t, nil, func(w *env) {
		a := frontDesk
		a.store = ""
		w.user("ann").must(setLock, a)
		for _, row := range []struct {
			header, store string
			code          int32
		}{
			{component, "", -14004}, {"nowhere", component, -14004}, {"nowhere", "", -14009}, {component, "nowhere", -14009},
		} {
			a.store = row.store
			ctx := metadata.AppendToOutgoingContext(w.ctx, "x-component-instance", row.header)
			_, err := w.user("ann").callIn(ctx, setLock, a)
			w.checkStatus(setLock, err, row.code, "")
		}
	})
}
