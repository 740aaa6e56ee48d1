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
		t.Errorf("node ended with code %d", code)
	}
	said := strings.Split(strings.TrimSpace(node.output.String()), "\n")
	for i, line := range said { // all but the fencing token, which is another each time
		if before, _, ok := strings.Cut(line, `,"lockRev":1`); ok {
			said[i] = before + "}"
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
	if !slices.Equal(said, want) {
		t.Errorf("the samples said\n%s\nwant\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

func TestJavaScript_ErrorStatus(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	startMortise(t, "--resources-path", newResources(t, memory("locks")).path, "--http-listen-address", addr)
	run := `import { login } from "../../examples/rtm/rtm.mjs";
		const rtm = login({ url: "http://` + addr + `", store: "locks", user: "alice" });
		const lock = { channel: "my_channel", channelType: "STREAM", lockName: "my_lock" };
		const heard = [], kept = [];
		const quit = await rtm.events(lock, (e) => heard.push(e.eventType));
		const leave = await rtm.session((e) => kept.push(e.eventType));
		await rtm.Lock.setLock(lock);
		await rtm.Lock.setLock(lock).catch((status) => console.log(status.errorCode, status.operation, typeof status.reason));
		await rtm.Lock.acquireLock({ ...lock, retry: true });
		await rtm.Lock.removeLock(lock);
		while (heard.length < 4 || kept.length < 3) await new Promise((done) => setTimeout(done, 10));
		await quit(), await leave();
		console.log(heard.join(), kept.join());`
	node := start(t, "node", "node", nil, "--input-type=module", "--eval", run)
	if code := node.exitCode(); code != 0 {
		t.Errorf("node ended with code %d", code)
	}
	want := "-14004 RTMSetLockOperation string\n1,2,4,3 1,4,3\n"
	if got := node.output.String(); got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}

func TestJavaScript_StreamEnd(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	m := startMortise(t, "--resources-path", newResources(t, memory("locks")).path, "--http-listen-address", addr)
	run := `import { login } from "../../examples/rtm/rtm.mjs";
		const url = "http://` + addr + `";
		const rtm = login({ url, store: "locks", user: "alice" });
		const heard = (e) => console.log("heard", e.eventType);
		const say = (why) => console.log("ended", why?.errorCode ?? why?.name);
		const lost = [{ channel: "my_channel", channelType: 1, lockName: "my_lock", lockRev: 7 }];
		async function open(held) {
			let tell;
			const ended = new Promise((resolve) => (tell = resolve));
			await rtm.session((e) => e.eventType === 6 && heard(e), { held, ended: tell });
			return { ended };
		}
		const first = await open(lost);
		const second = await open();
		say(await first.ended);
		await fetch(url + "/v1/rtm/locks/logout", { method: "POST", body: '{"user": "alice"}' });
		say(await second.ended);
		const last = await open();
		await rtm.session(() => {}); // which replaces it, and nobody wants to know how it ends
		say(await last.ended);
		const lobby = { channel: "my_channel", channelType: 1 };
		const cut = new Promise((ended) => rtm.events(lobby, heard, { ended }));
		say(await cut);`
	node := start(t, "node", "node", nil, "--input-type=module", "--eval", run)
	node.awaitLine("heard 1")
	m.kill()
	if code := node.exitCode(); code != 0 {
		t.Errorf("node ended with code %d", code)
	}
	want := "heard 6\nended -10027\nended undefined\nended -10027\nheard 1\nended TypeError\n"
	if got := node.output.String(); got != want {
		t.Errorf("it said %q, want %q", got, want)
	}
}
