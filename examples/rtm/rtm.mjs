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
   */
  const session = (hear) => listen(`${path}/session`, { user }, hear);
  const events = ({ channel, channelType }, hear) => listen(`${path}/subscribe`, { user, channel, channelType }, hear);

  async function listen(address, query, hear) {
    const end = new AbortController();
    const response = await fetch(`${address}?${new URLSearchParams(query)}`, { headers, signal: end.signal });
    if (!response.ok) throw await response.json();
    const ended = read(response.body, hear).catch((e) => {
      if (!end.signal.aborted) throw e;
    });
    return () => (end.abort(), ended);
  }

  return { Lock, session, events };
}

/** read calls hear with the data of each server-sent event. */
async function read(body, hear) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data: "));
      if (data) hear(JSON.parse(data.slice("data: ".length)));
    }
  }
}
