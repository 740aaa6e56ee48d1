// The lock calls of RTM's JavaScript SDK, for a Mortise that serves HTTP. It needs only fetch: Node 18 or a browser.
//
//   const rtm = login({ url: "http://127.0.0.1:7080", store: "lockstore", user: "alice" });
//   await rtm.Lock.setLock({ channel: "my_channel", channelType: 1, lockName: "my_lock", ttl: 30 });
//
// A call that fails throws a status: { errorCode, operation, reason }.

const calls = ["setLock", "acquireLock", "releaseLock", "revokeLock", "getLock", "removeLock"];

/** login returns the calls of a user. token is the bearer token, if Mortise requires one. */
export function login({ url, store, user, token }) {
  const path = `${url}/v1/rtm/${encodeURIComponent(store)}`;
  const headers = token ? { authorization: `Bearer ${token}` } : {};

  async function call(name, request) {
    const response = await fetch(`${path}/${name}`, { method: "POST", headers, body: JSON.stringify({ user, ...request }) });
    const answer = await response.json();
    if (!response.ok) throw answer;
    return answer;
  }

  const Lock = {};
  for (const name of calls) {
    Lock[name] = (request) => call(name, request);
    Lock[`${name}Lock`] = Lock[name]; // the name in some samples: revokeLockLock
  }

  /**
   * session keeps the user online while it is open, and reports what happens to the user's locks. events reports what happens in
   * a channel. Both call hear with { eventType, channel, lockName, owner, lockRev, ... }, and return a function that ends them.
   *
   * When they end otherwise, they call ended: with the error that ended them, or with nothing after a logout. A session that has
   * ended leaves its user offline, and the TTLs of the locks run. So open it again soon, and pass what the user believes to hold
   * as held, [{ channel, channelType, lockName, lockRev }, ...]: hear is told which of these have expired. But do not open it
   * again after a logout, nor after -10027, which means that the user has opened another session.
   *
   * A browser's EventSource is not for sessions. It reconnects by itself, whatever the end: after a logout it logs in again, and
   * two tabs of one user replace each other again and again.
   */
  const session = (hear, { held = [], ended } = {}) =>
    listen(`${path}/session`, { method: "POST", body: JSON.stringify({ user, held }) }, hear, ended);
  const events = ({ channel, channelType }, hear, { ended } = {}) =>
    listen(`${path}/subscribe?${new URLSearchParams({ user, channel, channelType })}`, {}, hear, ended);

  async function listen(address, request, hear, ended = () => {}) {
    const end = new AbortController();
    const response = await fetch(address, { ...request, headers, signal: end.signal });
    if (!response.ok) throw await response.json();
    const over = read(response.body, hear)
      .catch((why) => why)
      .then((why) => end.signal.aborted || ended(why));
    return () => (end.abort(), over);
  }

  return { Lock, session, events };
}

/** read calls hear with the data of each server-sent event. It throws that of an ERROR. */
async function read(body, hear) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const [, name, data] = text.slice(0, end).match(/^event: (.*)\ndata: (.*)$/) ?? []; // or a comment
      if (name === "ERROR") throw JSON.parse(data);
      if (data) hear(JSON.parse(data));
    }
  }
}
