// The connection to Freshet: JSON-RPC 2.0 over one WebSocket that comes back by itself.
//
// Promises:
// - A record never goes back in time: within a generation a lower version of a key is dropped, whichever way it came.
// - After a loss every watch subscribes again with `since`, so that only what changed meanwhile is sent.
// - A write that was under way is repeated with its idempotency key, so that it happens once or says so.
// - The server is never stormed: full jitter after a failure, and after a drain the wait that it asked for.
//
// Leaves to others: what a record means, and how a state is shown.

// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: wait random(0, min(cap, base * 2^attempt)).
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 20_000;
// A connection that lasted this long counts as good: the next failure starts again with the shortest wait.
const STEADY_MS = 10_000;
const OPEN_WITHIN_MS = 10_000;
const ANSWER_WITHIN_MS = 15_000;
// The server's pings are invisible to a page, so a silent line is tried out by a request of our own.
const SILENCE_MS = 30_000;
const PROBE_WITHIN_MS = 8_000;
const PROBE_EVERY_MS = 5_000;

const TOKEN_EXPIRED = 4401;
const LIMITS = 4429;
const OUTCOME_UNKNOWN = -32012;

/** An answer that is an error: `code`, `message`, and `data.reason`, `data.retry_after_ms`, `data.stamp` where given. */
export class RpcError extends Error {
  constructor({ code, message, data }) {
    super(message || `error ${code}`);
    this.code = code;
    this.data = data ?? {};
  }

  get reason() {
    return this.data.reason;
  }

  // Overloaded, limited, out of time, unavailable or broken inside: the same request may succeed later.
  get isRetryable() {
    return this.data.retry_after_ms !== undefined || [-32008, -32009, -32010, -32011, -32603].includes(this.code);
  }
}

/** There was no answer: not connected, the connection was lost, or it took too long. `sent` tells whether the request had left. */
export class LinkError extends Error {
  constructor(message, { sent }) {
    super(message);
    this.sent = sent;
  }
}

/**
 * One connection, which lives as long as the page.
 *
 * `state` is `{ name }`: `connecting`, `open`, `waiting` (with `until` in ms since the epoch and `drained`) or
 * `stopped` (with `why`); `onstate` is called after each change of it or of a watch.
 */
export class Connection {
  state = { name: "connecting" };
  onstate = () => {};
  /** When the server was last heard, in ms since the epoch; 0 before. */
  heardAt = 0;

  #url;
  #socket = null;
  #openedAt = 0;
  #attempt = 0;
  #comeBackAt = null; // Set by a drain.
  #timer = 0;
  #nextId = 1;
  #pending = new Map(); // id -> a call that waits for its answer
  #watches = new Set();
  #subscriptions = new Map(); // subscription id -> { watch, unseen: keys whose snapshot has not come }
  #records = new Map(); // collection and key -> the newest record

  constructor(url) {
    this.#url = url;
    setInterval(() => this.#tryOutSilence(), PROBE_EVERY_MS);
  }

  /** Connects now, whatever wait is left. */
  connect() {
    clearTimeout(this.#timer);
    this.#abandon();
    this.#comeBackAt = null;
    this.#enter({ name: "connecting" });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    // Handlers ask whether the socket is still ours: an abandoned one may speak for minutes.
    const own = (act) => (event) => socket === this.#socket && act(event);
    socket.onopen = own(() => this.#opened());
    socket.onmessage = own((event) => this.#heard(event.data));
    socket.onclose = own((event) => this.#lost(event.code));
    this.#timer = setTimeout(() => this.#lost(), OPEN_WITHIN_MS);
  }

  /** Closes; `connect` opens again. */
  close() {
    clearTimeout(this.#timer);
    this.#abandon();
    this.#enter({ name: "stopped", why: "Disconnected" });
  }

  /** The network is back or the page is looked at again: waiting has no point, and a silent line is suspect. */
  wake() {
    if (this.state.name === "waiting" && !this.state.drained) this.connect();
    else if (Date.now() - this.heardAt > PROBE_EVERY_MS) this.#probe();
  }

  /**
   * Sends a request and waits for its result.
   *
   * Rejects with an RpcError or a LinkError. With `repeat` a request that was under way when the connection was lost
   * is sent again on the next one; only for what may safely arrive twice.
   */
  call(method, params, { repeat = false, within = ANSWER_WITHIN_MS } = {}) {
    if (this.state.name !== "open") return Promise.reject(new LinkError("there is no connection", { sent: false }));
    const id = this.#nextId++;
    const text = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.#fail(id, new LinkError(`no answer within ${Math.round(within / 1000)} s`, { sent: true })), within);
      this.#pending.set(id, { text, repeat, resolve, reject, late });
      this.#socket.send(text);
    });
  }

  /** A write, done once: repeated with its idempotency key where its outcome is unknown. The record that it returns is taken in. */
  async write(method, params) {
    const once = { ...params, return: true, idempotency_key: randomKey() };
    const answer = await this.#settle(method, once, performance.now() + ANSWER_WITHIN_MS);
    if (answer.value !== undefined) this.#take(params.collection, answer, "answer");
    return answer;
  }

  /** Reads one record and takes it in. */
  async get(collection, key, options = {}) {
    const record = await this.call("get", { collection, key, ...options }, { repeat: true });
    this.#take(collection, record, "answer");
    return this.record(collection, key);
  }

  /** The newest record known of a watched key. */
  record(collection, key) {
    return this.#records.get(nameOf(collection, key));
  }

  /** Starts a watch that shows no keys yet; `onrecord(record, previous)` gets every newer state of those it will show. */
  watch(collection, onrecord) {
    const watch = new Watch(collection, onrecord, {
      subscribe: () => this.#subscribe(watch),
      unsubscribe: (id) => this.#unsubscribe(id),
    });
    this.#watches.add(watch);
    return watch;
  }

  // ---- the socket's life ----

  #opened() {
    clearTimeout(this.#timer);
    this.#openedAt = Date.now();
    this.heardAt = this.#openedAt;
    for (const { text } of this.#pending.values()) this.#socket.send(text); // Those that are left may be repeated.
    this.#enter({ name: "open" });
    for (const watch of this.#watches) this.#subscribe(watch);
  }

  #lost(code) {
    const steady = this.state.name === "open" && Date.now() - this.#openedAt >= STEADY_MS;
    if (steady) this.#attempt = 0;
    this.#abandon();
    if (code === TOKEN_EXPIRED) return this.#enter({ name: "stopped", why: "The access token has expired" });
    this.#wait(code);
  }

  #wait(code) {
    clearTimeout(this.#timer);
    const drained = this.#comeBackAt !== null;
    const until = drained ? this.#comeBackAt : Date.now() + this.#backoff(code);
    this.#enter({ name: "waiting", until, drained });
    this.#timer = setTimeout(() => this.connect(), Math.max(0, until - Date.now()));
  }

  // A server that closes for limits is asking for the longest wait, not for another attempt at once.
  #backoff(code) {
    if (code === LIMITS) return (BACKOFF_CAP_MS / 2) * (1 + Math.random());
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    return Math.random() * ceiling;
  }

  // Leaves the socket behind, without waiting for a close that a dead line never answers.
  #abandon() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#subscriptions.clear();
    for (const watch of this.#watches) watch.lost();
    for (const [id, call] of this.#pending) {
      if (!call.repeat) this.#fail(id, new LinkError("the connection was lost before the answer came", { sent: true }));
    }
  }

  // The server goes away and tells when to come back. Until it closes, the line serves on.
  #drain(params) {
    const ms = Number(params?.reconnect_in_ms);
    this.#comeBackAt = Date.now() + (Number.isFinite(ms) && ms >= 0 ? Math.min(ms, 10 * 60_000) : this.#backoff());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), this.#comeBackAt - Date.now());
  }

  #tryOutSilence() {
    if (Date.now() - this.heardAt > SILENCE_MS) this.#probe();
  }

  async #probe() {
    const watch = [...this.#watches].find(({ keys }) => keys.length > 0);
    if (this.state.name !== "open" || !watch) return;
    const socket = this.#socket;
    const answered = this.call("get", { collection: watch.collection, key: watch.keys[0] }, { within: PROBE_WITHIN_MS });
    await answered.catch((error) => {
      if (error instanceof LinkError && socket === this.#socket) this.#lost();
    });
  }

  #enter(state) {
    this.state = state;
    this.onstate(state);
  }

  // ---- messages ----

  #heard(text) {
    this.heardAt = Date.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return; // Nothing of ours: an answer that is awaited runs into its limit.
    }
    for (const one of Array.isArray(message) ? message : [message]) this.#dispatch(one);
  }

  #dispatch(message) {
    if (message.method === "freshet_subscription") this.#pushed(message.params);
    else if (message.method === "freshet_drain") this.#drain(message.params);
    else if (message.id !== undefined) this.#answered(message);
  }

  #answered({ id, result, error }) {
    if (error) return this.#fail(id, new RpcError(error));
    const call = this.#settled(id);
    call?.resolve(result);
  }

  #fail(id, error) {
    this.#settled(id)?.reject(error);
  }

  #settled(id) {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(call?.late);
    return call;
  }

  async #settle(method, params, deadline) {
    for (;;) {
      try {
        return await this.call(method, params, { repeat: true, within: Math.max(1000, deadline - performance.now()) });
      } catch (error) {
        const wait = error.data?.retry_after_ms ?? BACKOFF_BASE_MS;
        if (error.code !== OUTCOME_UNKNOWN || performance.now() + wait > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  // ---- subscriptions and records ----

  async #subscribe(watch) {
    const { collection, keys, turn } = watch;
    if (this.state.name !== "open" || keys.length === 0) return;
    const since = Object.fromEntries(keys.map((key) => [key, this.record(collection, key)?.stamp]).filter(([, stamp]) => stamp));
    try {
      const id = await this.call("subscribe", { collection, keys, since });
      if (turn !== watch.turn) return this.#unsubscribe(id);
      this.#subscriptions.set(id, { watch, unseen: new Set(keys) });
      watch.subscribed(id);
      this.onstate(this.state);
    } catch (error) {
      if (turn === watch.turn) this.#refused(watch, error);
    }
  }

  #refused(watch, error) {
    if (!(error instanceof RpcError)) return; // The line is gone, and its loss subscribes again.
    watch.refused(error);
    this.onstate(this.state);
    if (!error.isRetryable) return;
    const { turn } = watch;
    const wait = (error.data.retry_after_ms ?? 1000) * (1 + Math.random());
    setTimeout(() => turn === watch.turn && this.#subscribe(watch), wait);
  }

  #unsubscribe(id) {
    this.#subscriptions.delete(id);
    if (this.state.name === "open") this.call("unsubscribe", [id]).catch(() => {}); // It ends with the line at the latest.
    this.#forgetUnwatched();
  }

  #pushed({ subscription, result, reset }) {
    const known = this.#subscriptions.get(subscription);
    if (!known) return;
    const snapshot = known.unseen.delete(result.key);
    this.#take(known.watch.collection, result, reset || result.reset ? "reset" : snapshot ? "snapshot" : "change");
  }

  #take(collection, received, how) {
    const name = nameOf(collection, received.key);
    const previous = this.#records.get(name);
    if (!replaces(received, previous, how)) return;
    const record = { ...received, receivedAt: Date.now() };
    const watching = [...this.#watches].filter((watch) => watch.shows(collection, record.key));
    if (watching.length === 0) return;
    this.#records.set(name, record);
    for (const watch of watching) watch.onrecord(record, previous);
  }

  #forgetUnwatched() {
    const watched = new Set([...this.#watches].flatMap(({ collection, keys }) => keys.map((key) => nameOf(collection, key))));
    for (const name of this.#records.keys()) if (!watched.has(name)) this.#records.delete(name);
  }
}

/** The keys of one collection that a part of the page shows. */
class Watch {
  keys = [];
  /** The server has confirmed the subscription to these keys: what is shown is live. */
  live = false;
  /** Why it has not, when it refused. */
  error = null;
  /** Counts the subscriptions asked for; an answer to an earlier one is out of date. */
  turn = 0;

  #id = null;
  #link;
  #shown = new Set();

  constructor(collection, onrecord, link) {
    this.collection = collection;
    this.onrecord = onrecord;
    this.#link = link;
  }

  /** Watches exactly `keys` from now on. What is known of those that stay is kept, and resumed from. */
  show(keys) {
    if (keys.length === this.keys.length && keys.every((key) => this.#shown.has(key))) return;
    const before = this.#id;
    this.keys = [...keys];
    this.#shown = new Set(keys);
    this.lost();
    this.#link.subscribe();
    if (before !== null) this.#link.unsubscribe(before);
  }

  shows(collection, key) {
    return collection === this.collection && this.#shown.has(key);
  }

  subscribed(id) {
    this.#id = id;
    this.live = true;
    this.error = null;
  }

  refused(error) {
    this.error = error;
  }

  lost() {
    this.turn += 1;
    this.#id = null;
    this.live = false;
    this.error = null;
  }
}

/**
 * Whether a received record takes the place of the one that is known.
 *
 * Another generation means that the store lost history: a higher one replaces, a lower one only where the server
 * means it (the first push of a subscription, or a reset). Within a generation versions rise; the same version again
 * may bring news of its freshness. An absence at version 0, older than the store remembers, is believed of a
 * subscription's first push alone.
 */
export function replaces(received, known, how) {
  if (!known || how === "reset") return true;
  const generations = generationOf(received) - generationOf(known);
  if (generations !== 0 && !Number.isNaN(generations)) return generations > 0 || how === "snapshot";
  if (received.value === null && received.version === 0) return how === "snapshot";
  return received.version > known.version || (received.version === known.version && how !== "change");
}

// A stamp is "generation.version"; without a dot it belongs to none, and its version alone decides.
function generationOf({ stamp }) {
  return /^\d+\./.test(stamp) ? Number.parseInt(stamp, 10) : Number.NaN;
}

function nameOf(collection, key) {
  return `${collection}/${key}`;
}

// crypto.randomUUID is missing on plain http; this is not.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16).padStart(8, "0")).join("");
}
