// RTM's own samples, in JavaScript.
package e2e

import (
	"slices"
	"strings"
	"testing"
)

func TestJavaScript_Samples(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	startMortise(t, "--resources-path", newResources(t, memory("locks")).path, "--http-listen-address", addr)
	node := start(t, "node", "node", nil, "../../examples/rtm/samples.mjs", "http://"+addr, "locks")
	if code := node.exitCode(); code != 0 {
		t.Errorf("node: got exit code %d, want 0", code)
	}
	lines := strings.Split(strings.TrimSpace(node.output.String()), "\n")
	for i, line := range lines { // without the fencing token, which differs each time
		if before, _, ok := strings.Cut(line, `,"lockRev":1`); ok {
			lines[i] = before + "}"
		}
	}
	lock := `{"errorCode":0,"channel":"my_channel","channelType":"MESSAGE","lockName":"my_lock"`
	want := []string{
		"setLock " + lock + `,"ttl":30}`,
		"acquireLock " + lock + `,"ttl":30}`,
		"releaseLock " + lock + "}",
		"revokeLock " + lock + "}",
		`getLock {"errorCode":0,"channel":"my_channel","channelType":"MESSAGE","totalLocks":1,` +
			`"locks":[{"lockName":"my_lock","owner":"","ttl":30,"lockRev":0}]}`,
		"removeLock " + lock + "}",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestJavaScript_ErrorStatus(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	startMortise(t, "--resources-path", newResources(t, memory("locks")).path, "--http-listen-address", addr)
	run := `import { login } from "../../examples/rtm/rtm.mjs";
		const rtm = login({ url: "http://` + addr + `", store: "locks", user: "alice" });
		const lock = { channel: "my_channel", channelType: "STREAM", lockName: "my_lock" };
		const events = [], sessionEvents = [];
		const quit = await rtm.events(lock, (e) => events.push(e.eventType));
		const leave = await rtm.session((e) => sessionEvents.push(e.eventType));
		await rtm.Lock.setLock(lock);
		await rtm.Lock.setLock(lock).catch((status) => console.log(status.errorCode, status.operation, typeof status.reason));
		await rtm.Lock.acquireLock({ ...lock, retry: true });
		await rtm.Lock.removeLock(lock);
		while (events.length < 4 || sessionEvents.length < 3) await new Promise((done) => setTimeout(done, 10));
		await quit(), await leave();
		console.log(events.join(), sessionEvents.join());`
	node := start(t, "node", "node", nil, "--input-type=module", "--eval", run)
	if code := node.exitCode(); code != 0 {
		t.Errorf("node: got exit code %d, want 0", code)
	}
	want := "-14004 RTMSetLockOperation string\n1,2,4,3 1,4,3\n"
	if got := node.output.String(); got != want {
		t.Errorf("got the output %q, want %q", got, want)
	}
}

func TestJavaScript_StreamEnd(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	m := startMortise(t, "--resources-path", newResources(t, memory("locks")).path, "--http-listen-address", addr)
	run := `import { login } from "../../examples/rtm/rtm.mjs";
		const url = "http://` + addr + `";
		const rtm = login({ url, store: "locks", user: "alice" });
		const onEvent = (e) => console.log("event", e.eventType);
		const printEnd = (reason) => console.log("ended", reason?.errorCode ?? reason?.name);
		const lost = [{ channel: "my_channel", channelType: 1, lockName: "my_lock", lockRev: 7 }];
		async function open(held) {
			let onEnd;
			const ended = new Promise((resolve) => (onEnd = resolve));
			await rtm.session((e) => e.eventType === 6 && onEvent(e), { held, ended: onEnd });
			return { ended };
		}
		const first = await open(lost);
		const second = await open();
		printEnd(await first.ended);
		await fetch(url + "/v1/rtm/locks/logout", { method: "POST", body: '{"user": "alice"}' });
		printEnd(await second.ended);
		const last = await open();
		await rtm.session(() => {}); // replaces the last session
		printEnd(await last.ended);
		const lobby = { channel: "my_channel", channelType: 1 };
		const cut = new Promise((ended) => rtm.events(lobby, onEvent, { ended }));
		printEnd(await cut);`
	node := start(t, "node", "node", nil, "--input-type=module", "--eval", run)
	node.awaitLine("event 1")
	m.kill()
	if code := node.exitCode(); code != 0 {
		t.Errorf("node: got exit code %d, want 0", code)
	}
	want := "event 6\nended -10027\nended undefined\nended -10027\nevent 1\nended TypeError\n"
	if got := node.output.String(); got != want {
		t.Errorf("got the output %q, want %q", got, want)
	}
}
