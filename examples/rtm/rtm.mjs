// The lock calls of RTM's JavaScript SDK, for a Mortise that serves HTTP. It requires only
// fetch: Node 18 or a browser.
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
   * session keeps the user online while it is open, and reports changes of the user's locks.
   * events reports changes of a channel's locks. Both call onEvent with
   * { eventType, channel, lockName, owner, lockRev, ... }, and return a function that closes
   * them.
   *
   * If they end otherwise, they call ended: with the error, or with nothing after a logout.
   * After the end of a session the user is offline, and the TTLs of the user's locks run. So
   * open another session soon, and pass the locks that the user has as held,
   * [{ channel, channelType, lockName, lockRev }, ...]: the session reports which of these
   * have expired. Do not open another session after a logout, nor after -10027, which means
   * that the user has opened a session elsewhere.
   *
   * Do not use a browser's EventSource for sessions. It reconnects automatically after any
   * end: after a logout it logs in again, and two tabs of one user replace each other's
   * sessions repeatedly.
   */
  const session = (onEvent, { held = [], ended } = {}) =>
    listen(`${path}/session`, { method: "POST", body: JSON.stringify({ user, held }) }, onEvent, ended);
  const events = ({ channel, channelType }, onEvent, { ended } = {}) =>
    listen(`${path}/subscribe?${new URLSearchParams({ user, channel, channelType })}`, {}, onEvent, ended);

  async function listen(address, request, onEvent, ended = () => {}) {
    const end = new AbortController();
    const response = await fetch(address, { ...request, headers, signal: end.signal });
    if (!response.ok) throw await response.json();
    const over = read(response.body, onEvent)
      .catch((error) => error)
      .then((error) => end.signal.aborted || ended(error));
    return () => (end.abort(), over);
  }

  return { Lock, session, events };
}

/** read calls onEvent with the data of each server-sent event. It throws the data of ERROR. */
async function read(body, onEvent) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const [, name, data] = text.slice(0, end).match(/^event: (.*)\ndata: (.*)$/) ?? []; // or a comment
      if (name === "ERROR") throw JSON.parse(data);
      if (data) onEvent(JSON.parse(data));
    }
  }
}
