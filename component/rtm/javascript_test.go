package rtm

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"

	"google.golang.org/protobuf/proto"

	rtmpb "github.com/mortise-lock/mortise/proto/mortise/rtm/v1"
)

// runJavaScript runs a script in which rtm is what the example's login returns for ann, and checks what it says.
func runJavaScript(t *testing.T, s *scriptedServer, script, want string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	server := httptest.NewServer(Handler(s))
	defer server.Close()
	script = fmt.Sprintf(`
		import { login } from "../../examples/rtm/rtm.mjs";
		const rtm = login({ url: %q, store: "s", user: "ann" });
		const hear = (e) => console.log("heard", e.eventType);
		const ended = (why) => console.log("ended", why?.errorCode ?? why?.name);
		%s`, server.URL, script)
	said, err := exec.CommandContext(t.Context(), node, "--input-type=module", "--eval", script).CombinedOutput()
	if err != nil || string(said) != want {
		t.Errorf("it said %q, want %q; %v", said, want, err)
	}
}

// onceGreeted sends one event, and then ends the stream in that way.
func onceGreeted(end func() error) *scriptedServer {
	return &scriptedServer{events: func(stream eventSink) error {
		if err := stream.Send(&rtmpb.LockEvent{EventType: rtmpb.LockEvent_SET}); err != nil {
			return err
		}
		return end()
	}}
}

func TestTheExampleTellsHowItsStreamsEnd(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func() error
		told string
	}{
		{"by a logout", func() error { return nil }, "undefined"},
		{"by another session", func() error { return failure("RTMSessionOperation", errReplaced) }, "-10027"},
		{"with the connection", func() error { panic(http.ErrAbortHandler) }, "TypeError"},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := "heard 2\nended " + row.told + "\n"
			runJavaScript(t, onceGreeted(row.end), `await rtm.session(hear, { ended });`, want)
			runJavaScript(t, onceGreeted(row.end), `await rtm.events({ channel: "c", channelType: 1 }, hear, { ended });`, want)
			runJavaScript(t, onceGreeted(row.end), `await rtm.session(hear);`, "heard 2\n") // nobody wants to know
		})
	}
}

func TestTheExampleDoesNotTellOfAnEndThatItsAppWants(t *testing.T) {
	runJavaScript(t, &scriptedServer{events: greet}, `
		let begun;
		const first = new Promise((resolve) => (begun = resolve));
		const quit = await rtm.session((e) => begun(hear(e)), { ended });
		await first;
		await quit();
		console.log("quit");`, "heard 2\nquit\n")
}

func TestTheExampleTellsWhatItsUserBelievesToHold(t *testing.T) {
	s := onceGreeted(func() error { return nil })
	runJavaScript(t, s, `await rtm.session(hear, { held: [{ channel: "c", channelType: 1, lockName: "l", lockRev: 7 }] });`, "heard 2\n")
	want := &rtmpb.SessionRequest{Store: "s", User: "ann", Held: []*rtmpb.LockDetail{
		{Channel: "c", ChannelType: ofMessages, LockName: "l", LockRev: 7},
	}}
	if !proto.Equal(s.asked, want) {
		t.Errorf("it asked %v, want %v", s.asked, want)
	}
}
