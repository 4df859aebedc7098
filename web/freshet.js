// The TypeScript client of Freshet, made from clients/typescript/src by `npm run build` there.

// src/errors.ts
var DEADLINE = -32011;
var OUTCOME_UNKNOWN = -32012;
var TOO_LARGE = -32007;
var RETRYABLE = /* @__PURE__ */ new Set([-32008, -32009, -32010, DEADLINE]);
var FreshetError = class extends Error {
  name = "FreshetError";
  /** The JSON-RPC code; 0 for `closed`, which no server says. */
  code;
  reason;
  /** What else the server said: `stamp` of a conflict, `column` of a value it refuses, and so on. */
  data;
  constructor(code, reason, message, data = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.data = data;
  }
  /** How long to wait before trying again, where the server said so. */
  get retryAfterMs() {
    const ms = this.data["retry_after_ms"];
    return typeof ms === "number" ? ms : void 0;
  }
  /** Whether the same call may succeed later and did nothing now. */
  get isRetryable() {
    return RETRYABLE.has(this.code);
  }
};
function refusal({ code, message, data }) {
  const known = typeof data === "object" && data !== null ? data : {};
  const reason = typeof known["reason"] === "string" ? known["reason"] : "";
  return new FreshetError(code, reason, message || `error ${code}`, known);
}
function deadline(timeoutMs) {
  return new FreshetError(DEADLINE, "deadline", `no answer within ${timeoutMs} ms`);
}
function outcomeUnknown(why) {
  return new FreshetError(OUTCOME_UNKNOWN, "outcome_unknown", `the write may or may not have happened: ${why}`);
}
function tooLarge() {
  return new FreshetError(TOO_LARGE, "too_large", "the server closed the connection over a message that was too large");
}
function closed(why) {
  return new FreshetError(0, "closed", why);
}

// src/json.ts
function slice(text, path) {
  let within = text;
  for (const name of path) within = within === void 0 ? void 0 : member(within, name);
  return within;
}
function elements(text) {
  const found = [];
  for (let at = skipBlank(text, skipBlank(text, 0) + 1); at < text.length && text[at] !== "]"; ) {
    const end = endOfValue(text, at);
    found.push(text.slice(at, end));
    at = skipSeparator(text, end, ",");
  }
  return found;
}
function object(members) {
  const given = Object.entries(members).filter(([, text]) => text !== void 0);
  return `{${given.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
}
function member(text, name) {
  for (let at = skipBlank(text, skipBlank(text, 0) + 1); at < text.length && text[at] === '"'; ) {
    const endOfName = endOfString(text, at);
    const start = skipSeparator(text, endOfName, ":");
    const end = endOfValue(text, start);
    if (JSON.parse(text.slice(at, endOfName)) === name) return text.slice(start, end);
    at = skipSeparator(text, end, ",");
  }
  return void 0;
}
function endOfValue(text, start) {
  let depth = 0;
  for (let at = start; at < text.length; ) {
    const sign = text[at];
    if (sign === '"') at = endOfString(text, at);
    else if (depth === 0 && !"{[".includes(sign)) return endOfScalar(text, at);
    else {
      if ("{[".includes(sign)) depth += 1;
      else if ("}]".includes(sign)) depth -= 1;
      at += 1;
    }
    if (depth === 0) return at;
  }
  return text.length;
}
function endOfScalar(text, at) {
  while (at < text.length && !/[\s,\]}]/.test(text[at])) at += 1;
  return at;
}
function endOfString(text, start) {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}
function skipBlank(text, at) {
  while (at < text.length && text.charCodeAt(at) <= 32) at += 1;
  return at;
}
function skipSeparator(text, at, separator) {
  const next = skipBlank(text, at);
  return text[next] === separator ? skipBlank(text, next + 1) : next;
}

// src/incoming.ts
function read(text, parse) {
  const { id, method, params, result, error } = JSON.parse(text);
  if (method === "freshet_subscription" && params?.subscription !== void 0 && params.result) {
    const record = reread(params.result, text, ["params", "result"], parse);
    return { kind: "state", subscription: params.subscription, record };
  }
  if (method === "freshet_freshness" && Array.isArray(params?.subscriptions)) {
    const { fresh, age_ms = 0, subscriptions } = params;
    return { kind: "freshness", isFresh: fresh === true, ageMs: age_ms, subscriptions };
  }
  if (method === "freshet_drain" && typeof params?.reconnect_in_ms === "number") {
    return { kind: "drain", reconnectInMs: params.reconnect_in_ms };
  }
  if (method === void 0 && typeof id === "number") {
    return { kind: "answer", id, result: rereadResult(result, text, parse), error };
  }
  return { kind: "other" };
}
function rereadResult(result, text, parse) {
  if (parse === void 0 || typeof result !== "object" || result === null) return result;
  const { records } = result;
  if (records === void 0) return reread(result, text, ["result"], parse);
  const texts = elements(slice(text, ["result", "records"]) ?? "[]");
  return { records: records.map((record, at) => reread(record, texts[at] ?? "", [], parse)) };
}
function reread(record, text, path, parse) {
  if (parse === void 0 || record.value === null || record.value === void 0) return record;
  const value = slice(text, [...path, "value"]);
  return value === void 0 ? record : { ...record, value: parse(value) };
}

// src/backoff.ts
var Backoff = class {
  #baseMs;
  #capMs;
  #random;
  #attempt = 0;
  constructor(baseMs, capMs, random = Math.random) {
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#random = random;
  }
  /** The next wait, in milliseconds. */
  next() {
    const ceilingMs = Math.min(this.#capMs, this.#baseMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return this.#random() * ceilingMs;
  }
  /** Starts over after a success. */
  reset() {
    this.#attempt = 0;
  }
};

// src/link.ts
var STEADY_MS = 5e3;
var DRAIN_GRACE_MS = 5e3;
var HEARTBEAT_MISSED = 4408;
var Link = class {
  state = { status: "connecting" };
  #urls;
  #settings;
  #owner;
  #backoff;
  #turn = 0;
  #socket = null;
  #openedAt = 0;
  #heardAt = 0;
  // When a sign of life was asked for that has not come.
  #probedAt = null;
  // While a node drains: when to come back, as Date.now().
  #drainAt = null;
  #isLeaving = false;
  #timer;
  #heartbeat;
  constructor(urls, settings2, owner) {
    this.#urls = urls;
    this.#settings = settings2;
    this.#owner = owner;
    this.#backoff = new Backoff(settings2.backoffBaseMs, settings2.backoffCapMs);
  }
  /** Whether a request may leave now. From a drain's notice on, only one that may be repeated. */
  takes(isRepeatable) {
    return this.state.status === "open" && !this.#isLeaving && (isRepeatable || this.#drainAt === null);
  }
  send(text) {
    this.#socket?.send(text);
  }
  /** Connects now, whatever wait is left. */
  connect() {
    this.#abandon();
    this.#enter({ status: "connecting" });
    const { WebSocket, connectTimeoutMs } = this.#settings;
    const socket = new WebSocket(this.#urls[this.#turn % this.#urls.length]);
    this.#socket = socket;
    const own = (act) => (event) => void (socket === this.#socket && act(event));
    socket.onopen = own(() => this.#opened());
    socket.onmessage = own(({ data }) => this.#heard(data));
    socket.onclose = own(({ code }) => this.#closed(code));
    socket.onerror = () => {
    };
    this.#timer = setTimeout(() => this.#lost(`no connection within ${connectTimeoutMs} ms`), connectTimeoutMs);
  }
  /** The node asks to be left, `ms` from now. Until it closes, the socket serves on. */
  drain(ms) {
    this.#drainAt = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#leave(), ms);
    this.#enter({ status: "open", reconnectInMs: ms });
  }
  /** The last answer that was awaited has come. */
  idle() {
    if (this.#isLeaving) this.#move();
  }
  /** The network is back, or somebody looks: waiting has no point, and a silent socket is suspect. */
  wake() {
    if (this.state.status === "waiting" && this.#drainAt === null) this.connect();
    else if (this.state.status === "open") this.#probe();
  }
  /** Closes for good. */
  close(error = closed("the client is closed")) {
    if (this.state.status === "closed") return;
    this.#part();
    this.#enter({ status: "closed", error });
    this.#owner.ended(error);
  }
  #opened() {
    clearTimeout(this.#timer);
    this.#openedAt = this.#heardAt = Date.now();
    this.#probedAt = null;
    this.#drainAt = null;
    this.#listen();
    this.#enter({ status: "open" });
    this.#owner.opened();
  }
  #heard(data) {
    this.#heardAt = Date.now();
    this.#probedAt = null;
    if (typeof data === "string") this.#owner.heard(data);
  }
  #closed(code) {
    const said = `the server closed the connection with ${code}`;
    if (code >= 4400 && code < 4500 && code !== HEARTBEAT_MISSED) this.close(closed(said));
    else this.#lost(code === 1006 ? "the connection broke, or none was made" : said, code);
  }
  #lost(reason, code) {
    const wasOpen = this.state.status === "open";
    if (wasOpen && this.#isSteady()) this.#backoff.reset();
    const askedMs = wasOpen && this.#drainAt !== null ? Math.max(0, this.#drainAt - Date.now()) : null;
    if (askedMs === null) this.#drainAt = null;
    const retryInMs = askedMs ?? Math.round(this.#backoff.next());
    this.#part(code);
    this.#turn += 1;
    this.#timer = setTimeout(() => this.connect(), retryInMs);
    this.#enter({ status: "waiting", retryInMs, retryAt: Date.now() + retryInMs, reason });
  }
  #leave() {
    if (!this.#owner.isBusy()) return this.#move();
    this.#isLeaving = true;
    this.#timer = setTimeout(() => this.#move(), DRAIN_GRACE_MS);
  }
  // At once, as the node spread its clients already; but not again and again.
  #move() {
    this.#drainAt = null;
    if (!this.#isSteady()) return this.#lost("the node drains");
    this.#backoff.reset();
    this.#part();
    this.#turn += 1;
    this.connect();
  }
  #isSteady() {
    return Date.now() - this.#openedAt >= STEADY_MS;
  }
  // Leaves the socket, and tells of it if it had been open.
  #part(code) {
    const wasOpen = this.state.status === "open";
    this.#abandon();
    if (wasOpen) this.#owner.lost(code, this.#heardAt);
  }
  // Does not wait for a close that a dead line never answers.
  #abandon() {
    clearTimeout(this.#timer);
    clearTimeout(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    this.#isLeaving = false;
    socket?.close(1e3);
  }
  // The server's pings are invisible to a page, so a silent socket is tried out by a request of our own.
  #listen() {
    const { heartbeatMs, heartbeatTimeoutMs } = this.#settings;
    const dueAt = this.#probedAt === null ? this.#heardAt + heartbeatMs : this.#probedAt + heartbeatTimeoutMs;
    clearTimeout(this.#heartbeat);
    if (Date.now() < dueAt) this.#heartbeat = setTimeout(() => this.#listen(), dueAt - Date.now());
    else if (this.#probedAt === null) this.#probe();
    else this.#lost("the server fell silent");
  }
  #probe() {
    if (this.#probedAt !== null) return;
    this.#probedAt = Date.now();
    this.#owner.probe();
    this.#listen();
  }
  #enter(state) {
    this.state = state;
    this.#owner.changed(state);
  }
};

// src/options.ts
var DEFAULTS = {
  connectTimeoutMs: 1e4,
  requestTimeoutMs: 1e4,
  backoffBaseMs: 500,
  backoffCapMs: 2e4,
  heartbeatMs: 15e3,
  heartbeatTimeoutMs: 1e4,
  stringify: (value) => JSON.stringify(value)
};
function settings(options) {
  for (const [name, value] of Object.entries(options)) {
    const isTime = name.endsWith("Ms");
    if (isTime && value !== void 0 && !(typeof value === "number" && value > 0 && value < 2 ** 31)) {
      throw new TypeError(`${name} is ${String(value)}: give milliseconds, above 0 and below 2^31`);
    }
  }
  const platform = globalThis.WebSocket;
  const WebSocket = options.WebSocket ?? platform;
  if (WebSocket === void 0) {
    throw new TypeError("there is no WebSocket here: give one as options.WebSocket, such as that of the package ws");
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== void 0));
  return { ...DEFAULTS, ...given, WebSocket };
}
function addresses(urls) {
  const list = typeof urls === "string" ? [urls] : urls;
  if (list.length === 0) throw new TypeError("give at least one URL");
  return list.map(address);
}
function address(given) {
  const here = globalThis.location?.href;
  let url;
  try {
    url = new URL(given, here);
  } catch {
    throw new TypeError(`${given} is no URL: give one such as wss://shop.example/v1/ws`);
  }
  url.protocol = url.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(url.protocol))
    throw new TypeError(`${given} is no WebSocket's URL: it begins with wss:// or ws://`);
  if (url.pathname === "/") url.pathname = "/v1/ws";
  url.hash = "";
  return url.href;
}

// src/record.ts
function stateOf({ key, version, stamp, value = null, stale_ms, reset }) {
  return {
    key,
    version,
    stamp,
    value,
    ...stale_ms === void 0 ? {} : { staleMs: stale_ms },
    ...reset ? { reset } : {}
  };
}
function compareStamps(a, b) {
  const [generationA, versionA] = parts(a);
  const [generationB, versionB] = parts(b);
  return generationA - generationB || versionA - versionB;
}
function generationOf(stamp) {
  return parts(stamp)[0];
}
function parts(stamp) {
  const dot = stamp.indexOf(".");
  return [Number(stamp.slice(0, dot)), Number(stamp.slice(dot + 1))];
}

// src/requests.ts
var MESSAGE_TOO_LARGE = 1009;
var Requests = class {
  #line;
  #calls = /* @__PURE__ */ new Map();
  #lastId = 0;
  constructor(line) {
    this.#line = line;
  }
  /** Makes a request, which leaves as soon as the line takes it. Answers a way to give it up. */
  ask(request) {
    const id = this.#lastId += 1;
    const call = { ...request, isSent: false, wasSent: false, timer: void 0 };
    const { timeoutMs } = request;
    if (timeoutMs !== void 0) call.timer = setTimeout(() => this.#fail(id, deadline(timeoutMs)), timeoutMs);
    this.#calls.set(id, call);
    this.#send(id, call);
    return (why) => this.#fail(id, why);
  }
  /** The line takes requests again. */
  resume() {
    for (const [id, call] of this.#calls) this.#send(id, call);
  }
  /** Whether an answer is awaited on the present socket. */
  isBusy() {
    return [...this.#calls.values()].some(({ isSent }) => isSent);
  }
  answered(id, result, error) {
    const call = this.#take(id);
    if (error) call?.failed(refusal(error));
    else call?.done(result);
    if (call && !this.isBusy()) this.#line.idle();
  }
  /** The socket is gone, closed with `code` if it was closed. What may not be repeated ends here. */
  lost(code) {
    for (const [id, call] of [...this.#calls]) {
      const wasUnderWay = call.isSent;
      call.isSent = false;
      if (call.kind === "bound") this.#fail(id, closed("the connection was lost"));
      else if (!wasUnderWay) continue;
      else if (call.kind === "once") this.#fail(id, outcomeUnknown("the connection was lost before its answer came"));
      else if (code === MESSAGE_TOO_LARGE) this.#fail(id, tooLarge());
    }
  }
  /** No socket will come again. */
  end(error) {
    for (const id of [...this.#calls.keys()]) this.#fail(id, error);
  }
  #send(id, call) {
    if (call.isSent || !this.#line.takes(call.kind !== "once")) return;
    call.isSent = call.wasSent = true;
    this.#line.send(`{"jsonrpc":"2.0","id":${id},"method":"${call.method}","params":${call.params}}`);
  }
  // Whatever ends a write that had left, it may have happened.
  #fail(id, error) {
    const call = this.#take(id);
    const isWrite = call?.kind === "keyed" || call?.kind === "once";
    call?.failed(isWrite && call.wasSent && error.reason !== "outcome_unknown" ? outcomeUnknown(error.message) : error);
  }
  #take(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
};

// src/wake.ts
function onWake(wake) {
  const page = globalThis;
  const { document } = page;
  if (!page.addEventListener || !document?.addEventListener) return () => {
  };
  const seen = () => void (document.visibilityState === "visible" && wake());
  const listen = (how) => {
    page[how]?.("online", wake);
    page[how]?.("pageshow", wake);
    document[how]?.("visibilitychange", seen);
  };
  listen("addEventListener");
  return () => listen("removeEventListener");
}

// src/freshness.ts
var Freshness = class _Freshness {
  /** Whether the server vouches for it: no change is missing but those of the last seconds. */
  isFresh;
  /** Until when it is proven, as `Date.now()`; `undefined` while it is fresh, and while the server has said nothing of it. */
  provenAt;
  constructor(isFresh, provenAt) {
    this.isFresh = isFresh;
    this.provenAt = isFresh ? void 0 : provenAt;
  }
  /** For how long changes may be missing, counting on; `undefined` as `provenAt`. */
  get ageMs() {
    return this.provenAt === void 0 ? void 0 : Math.max(0, Date.now() - this.provenAt);
  }
  /** What is left of it when the connection is lost, on which the server was last heard at `heardAt`. */
  lost(heardAt) {
    return this.isFresh ? new _Freshness(false, heardAt) : this;
  }
};
var UNKNOWN = new Freshness(false);

// src/watch.ts
var Watch = class {
  collection;
  #watches;
  #listener;
  #options;
  #readers = /* @__PURE__ */ new Map();
  /** @internal Made by `Client.watch`. */
  constructor(watches, collection, keys, listener, options) {
    this.#watches = watches;
    this.collection = collection;
    this.#listener = listener;
    this.#options = options;
    this.show(typeof keys === "string" ? [keys] : keys);
  }
  /** The keys watched. */
  get keys() {
    return [...this.#readers.keys()];
  }
  /** Whether the server has confirmed the subscriptions to all keys on the present connection. */
  get isLive() {
    return this.keys.every((key) => this.#watches.isLive(this.collection, key));
  }
  /** Whether the server vouches for every key. While the connection is lost it is not so. */
  get isFresh() {
    return this.keys.every((key) => this.freshness(key).isFresh);
  }
  /**
   * For how long changes of any key may be missing, at the most, counting on; `undefined` while all are fresh, and before the
   * server has said anything of one that is not.
   */
  get ageMs() {
    const ages = this.keys.map((key) => this.freshness(key).ageMs).filter((age) => age !== void 0);
    return ages.length === 0 ? void 0 : Math.max(...ages);
  }
  /** How far a watched key is proven. */
  freshness(key) {
    return this.#readers.has(key) ? this.#watches.freshness(this.collection, key) : UNKNOWN;
  }
  /** The newest state known of a watched key. */
  state(key) {
    return this.#readers.has(key) ? this.#watches.state(this.collection, key) : void 0;
  }
  /** Watches exactly `keys` from now on. Those that stay go on undisturbed. */
  show(keys) {
    const wanted = new Set(keys);
    for (const key of wanted) if (!this.#readers.has(key)) this.#open(key);
    for (const key of this.keys) if (!wanted.has(key)) this.#close(key);
  }
  /** Ends the watch. Its listener is not called again. */
  close() {
    this.show([]);
  }
  #open(key) {
    const reader = {
      state: (state) => this.#listener(state),
      freshness: (freshness) => this.#options.onFreshness?.(freshness, key),
      live: () => this.#options.onLive?.(key),
      refused: (error) => {
        this.#readers.delete(key);
        this.#options.onError?.(error, key);
      }
    };
    this.#readers.set(key, reader);
    this.#watches.add(this.collection, key, reader);
  }
  #close(key) {
    const reader = this.#readers.get(key);
    this.#readers.delete(key);
    if (reader) this.#watches.remove(this.collection, key, reader);
  }
};

// src/known.ts
var Known = class {
  /** The last state accepted. */
  state;
  // The highest stamp so far. A deletion that the store no longer remembers has none and leaves it as it was.
  #seen;
  // Whether a push came since the last `subscribe`: the first one is the snapshot.
  #isTold = false;
  /** Where to resume from, if anywhere: version 0 is no state. */
  get since() {
    return this.#seen?.endsWith(".0") ? void 0 : this.#seen;
  }
  /** Subscribed anew: the next push is a snapshot. */
  resume() {
    this.#isTold = false;
  }
  /** Takes a pushed state if it is news; answers whether it was. */
  push(state) {
    const isSnapshot = !this.#isTold;
    this.#isTold = true;
    return this.#accepts(state, isSnapshot) && this.#take(state);
  }
  /** Takes the state that an answer brought, if it is news; answers whether it was. */
  answer(state) {
    return this.#accepts(state, false) && this.#take(state);
  }
  // A stamp must rise. Two states need not: one of another generation that is marked `reset`; and, as a snapshot
  // only, an absence at version 0, the answer for a deletion older than the store remembers.
  #accepts(state, isSnapshot) {
    if (this.state === void 0 || this.#seen === void 0 || compareStamps(state.stamp, this.#seen) > 0) return true;
    const isReset = state.reset === true && generationOf(state.stamp) !== generationOf(this.#seen);
    const isForgotten = isSnapshot && state.version === 0 && state.value === null && this.state.value !== null;
    return isReset || isForgotten;
  }
  #take(state) {
    if (state.version > 0 || this.#seen === void 0) this.#seen = state.stamp;
    this.state = state;
    return true;
  }
};

// src/watches.ts
var RETRY_MS = 1e3;
var Watches = class {
  #requests;
  #isOpen;
  #topics = /* @__PURE__ */ new Map();
  #byId = /* @__PURE__ */ new Map();
  #ended = null;
  constructor(requests, isOpen) {
    this.#requests = requests;
    this.#isOpen = isOpen;
  }
  /** Adds a reader of a key. What is known is handed to it at once, but not before this returns. */
  add(collection, key, reader) {
    const topic = this.#topics.get(nameOf(collection, key)) ?? this.#open(collection, key);
    topic.readers.set(reader, void 0);
    this.#subscribe(topic);
    queueMicrotask(() => {
      if (this.#ended) return this.#refuse(topic, this.#ended);
      if (topic.known.state) this.#handTo(reader, topic, topic.known.state);
      if (topic.freshness !== UNKNOWN && topic.readers.has(reader)) safely(() => reader.freshness(topic.freshness));
      if (topic.id !== null && topic.readers.has(reader)) safely(() => reader.live());
    });
  }
  /** Takes a reader away; with the last of a key its subscription ends, unless another comes in the same turn. */
  remove(collection, key, reader) {
    const topic = this.#topics.get(nameOf(collection, key));
    if (topic?.readers.delete(reader) && topic.readers.size === 0) queueMicrotask(() => this.#release(topic));
  }
  isLive(collection, key) {
    return this.#topics.get(nameOf(collection, key))?.id != null;
  }
  /** How far a watched key is proven. */
  freshness(collection, key) {
    return this.#topics.get(nameOf(collection, key))?.freshness ?? UNKNOWN;
  }
  /** The newest state known of a watched key. */
  state(collection, key) {
    return this.#topics.get(nameOf(collection, key))?.known.state;
  }
  /** Takes in what an answer brought of a key, if it is watched; answers the newest state of it. */
  answered(collection, asked, state) {
    const topic = this.#topics.get(nameOf(collection, asked));
    if (!topic) return state;
    if (topic.known.answer(state)) this.#hand(topic, state);
    return topic.known.state ?? state;
  }
  pushed(id, record) {
    const topic = this.#byId.get(id);
    const state = stateOf(record);
    if (topic?.known.push(state)) this.#hand(topic, state);
    if (topic && !topic.isJudged) this.#judge(topic, freshnessOf(state.staleMs === void 0, state.staleMs ?? 0));
  }
  /** The server says how subscriptions stand; each has one key. */
  told({ isFresh, ageMs, subscriptions }) {
    const freshness = freshnessOf(isFresh, ageMs);
    for (const id of subscriptions) {
      const topic = this.#byId.get(id);
      if (topic) this.#judge(topic, freshness);
    }
  }
  /** A new socket is open. */
  resume() {
    for (const topic of this.#topics.values()) this.#subscribe(topic);
  }
  /** The socket, on which the server was last heard at `heardAt`, is gone, and the server's subscriptions with it. */
  lost(heardAt) {
    this.#byId.clear();
    for (const topic of this.#topics.values()) {
      clearTimeout(topic.retry);
      topic.id = null;
      this.#judge(topic, topic.freshness.lost(heardAt));
      topic.isJudged = false;
    }
  }
  /** No socket will come again. */
  end(error) {
    this.#ended = error;
    for (const topic of [...this.#topics.values()]) this.#refuse(topic, error);
  }
  #open(collection, key) {
    const topic = {
      collection,
      key,
      known: new Known(),
      freshness: UNKNOWN,
      isJudged: false,
      readers: /* @__PURE__ */ new Map(),
      id: null,
      isAsking: false,
      retry: void 0
    };
    this.#topics.set(nameOf(collection, key), topic);
    return topic;
  }
  #subscribe(topic) {
    if (topic.isAsking || topic.id !== null || !this.#isOpen()) return;
    topic.isAsking = true;
    topic.known.resume();
    const { collection, key } = topic;
    const { since } = topic.known;
    const params = object({
      collection: JSON.stringify(collection),
      key: JSON.stringify(key),
      since: since && JSON.stringify({ [key]: since })
    });
    this.#requests.ask({
      kind: "bound",
      method: "subscribe",
      params,
      done: (id) => this.#confirmed(topic, id),
      failed: (error) => this.#failed(topic, error)
    });
  }
  #confirmed(topic, id) {
    topic.isAsking = false;
    if (!this.#isCurrent(topic)) return this.#unsubscribe(id);
    topic.id = id;
    this.#byId.set(id, topic);
    for (const reader of [...topic.readers.keys()]) safely(() => reader.live());
  }
  #failed(topic, error) {
    topic.isAsking = false;
    if (error.reason === "closed" || !this.#isCurrent(topic)) return;
    if (!error.isRetryable) return this.#refuse(topic, error);
    const waitMs = error.retryAfterMs ?? RETRY_MS;
    topic.retry = setTimeout(() => this.#subscribe(topic), waitMs * (1 + Math.random()));
  }
  #refuse(topic, error) {
    this.#forget(topic);
    for (const reader of [...topic.readers.keys()]) safely(() => reader.refused(error));
  }
  #release(topic) {
    if (topic.readers.size > 0 || !this.#isCurrent(topic)) return;
    this.#forget(topic);
    if (topic.id !== null) this.#unsubscribe(topic.id);
  }
  #forget(topic) {
    clearTimeout(topic.retry);
    this.#topics.delete(nameOf(topic.collection, topic.key));
    if (topic.id !== null) this.#byId.delete(topic.id);
  }
  // Nobody waits for the answer: the subscription ends with the socket at the latest.
  #unsubscribe(id) {
    const nothing = () => {
    };
    this.#requests.ask({
      kind: "bound",
      method: "unsubscribe",
      params: JSON.stringify([id]),
      done: nothing,
      failed: nothing
    });
  }
  #judge(topic, freshness) {
    const before = topic.freshness;
    topic.freshness = freshness;
    topic.isJudged = true;
    const isNews = before.isFresh !== freshness.isFresh || before.provenAt === void 0 !== (freshness.provenAt === void 0);
    if (!isNews) return;
    for (const reader of [...topic.readers.keys()]) {
      if (topic.readers.has(reader)) safely(() => reader.freshness(freshness));
    }
  }
  #hand(topic, state) {
    for (const reader of [...topic.readers.keys()]) this.#handTo(reader, topic, state);
  }
  // A listener may close its neighbour, or have been handed the state already.
  #handTo(reader, topic, state) {
    if (!topic.readers.has(reader) || topic.readers.get(reader) === state) return;
    topic.readers.set(reader, state);
    safely(() => reader.state(state));
  }
  #isCurrent(topic) {
    return this.#topics.get(nameOf(topic.collection, topic.key)) === topic;
  }
};
function freshnessOf(isFresh, ageMs) {
  return new Freshness(isFresh, Date.now() - ageMs);
}
function nameOf(collection, key) {
  return `${collection}\0${key}`;
}
function safely(act) {
  try {
    act();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

// src/client.ts
var REPEAT_MS = 500;
var Client = class {
  #settings;
  #link;
  #requests;
  #watches;
  #listeners = /* @__PURE__ */ new Set();
  #sleep;
  /** `url` is such as `wss://shop.example`; of several, the next one is tried whenever a connection ends. */
  constructor(url, options = {}) {
    this.#settings = settings(options);
    this.#link = new Link(addresses(url), this.#settings, {
      opened: () => (this.#watches.resume(), this.#requests.resume()),
      heard: (text) => this.#heard(text),
      lost: (code, heardAt) => (this.#requests.lost(code), this.#watches.lost(heardAt)),
      ended: (error) => (this.#sleep(), this.#requests.end(error), this.#watches.end(error)),
      changed: (state) => this.#listeners.forEach((listener) => listener(state)),
      probe: () => this.#probe(),
      isBusy: () => this.#requests.isBusy()
    });
    this.#requests = new Requests(this.#link);
    this.#watches = new Watches(this.#requests, () => this.#link.state.status === "open");
    this.#sleep = onWake(() => this.#link.wake());
    this.#link.connect();
  }
  /** What the connection is up to. */
  get state() {
    return this.#link.state;
  }
  /** Calls `listener` at each change of `state`. Answers a way to stop that. */
  onState(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
  /** Reads a record. An absent one is an answer, with `value: null`. */
  async get(collection, key, options = {}) {
    const params = object({ ...place(collection, key), ...reading(options) });
    const record = await this.#ask({ kind: "read", method: "get", params, options });
    return this.#watches.answered(collection, key, stateOf(record));
  }
  /** Reads several records of one collection, answered in the order asked. */
  async getMany(collection, keys, options = {}) {
    const params = object({ collection: JSON.stringify(collection), keys: JSON.stringify(keys), ...reading(options) });
    const { records } = await this.#ask({ kind: "read", method: "get_many", params, options });
    const newest = records.map((record, at) => this.#watches.answered(collection, keys[at], stateOf(record)));
    return newest;
  }
  /** Up to when what the server has of `keys` is proven, whether they are watched or not. */
  async freshness(collection, keys, options = {}) {
    const params = object({ collection: JSON.stringify(collection), keys: JSON.stringify([keys].flat()) });
    const answer = await this.#ask({ kind: "read", method: "freshness", params, options });
    const { fresh, age_ms, keys: stale = [] } = answer;
    return { isFresh: fresh, ageMs: age_ms, keys: stale };
  }
  /** Replaces a record: a column left out takes its default. */
  put(collection, key, value, options = {}) {
    const params = { ...place(collection, key), value: this.#settings.stringify(value), ...writing(options) };
    return this.#write("put", params, options);
  }
  /** Changes part of a record, or creates it. With `returns`, the answer carries the record's new value. */
  async patch(collection, key, change, options = {}) {
    const { stringify } = this.#settings;
    const params = {
      ...place(collection, key),
      value: change.merge && stringify(change.merge),
      increment: change.increment && stringify(change.increment),
      ...writing(options),
      return: options.returns ? "true" : void 0
    };
    const written = await this.#write("patch", params, options);
    if (written.value !== void 0) this.#watches.answered(collection, key, stateOf(written));
    return written;
  }
  /** Removes a record. The answer's stamp is the deletion's. */
  delete(collection, key, options = {}) {
    return this.#write("delete", { ...place(collection, key), ...writing(options) }, options);
  }
  /**
   * Watches records: `listener` gets each one's present state first, then every newer one. States of one key never go
   * back, unless one says `reset`; a client that is slow may miss states, never the latest.
   *
   * Watches of the same key share one subscription, whoever made them.
   */
  watch(collection, keys, listener, options = {}) {
    return new Watch(this.#watches, collection, keys, listener, options);
  }
  /** Ends a wait for the next attempt to connect. */
  reconnect() {
    if (this.state.status === "waiting") this.#link.connect();
  }
  /** Closes the connection for good. Whatever still waits is rejected: writes under way as `outcome_unknown`. */
  close() {
    this.#link.close();
  }
  async #write(method, params, options) {
    const kind = options.idempotencyKey === void 0 ? "once" : "keyed";
    const until = Date.now() + this.#timeoutMs(options);
    for (; ; ) {
      const timeoutMs = Math.max(1, until - Date.now());
      try {
        return await this.#ask({
          kind,
          method,
          params: object(params),
          options: { ...options, timeoutMs }
        });
      } catch (error) {
        const isUnknown = error instanceof FreshetError && error.code === OUTCOME_UNKNOWN && "reason" in error.data;
        const waitMs = isUnknown ? error.retryAfterMs ?? REPEAT_MS : 0;
        const isOver = this.state.status === "closed" || options.signal?.aborted || Date.now() + waitMs >= until;
        if (kind === "once" || !isUnknown || isOver) throw error;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }
  #ask({ kind, method, params, options }) {
    if (this.state.status === "closed") return Promise.reject(this.state.error);
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(closed("the request was given up"));
    return new Promise((resolve, reject) => {
      const over = (act) => (value) => (signal?.removeEventListener("abort", abort), act(value));
      const abort = () => giveUp(closed("the request was given up"));
      const timeoutMs = this.#timeoutMs(options);
      const giveUp = this.#requests.ask({ kind, method, params, timeoutMs, done: over(resolve), failed: over(reject) });
      signal?.addEventListener("abort", abort);
    });
  }
  #timeoutMs({ timeoutMs }) {
    return timeoutMs ?? this.#settings.requestTimeoutMs;
  }
  #heard(text) {
    const incoming = read(text, this.#settings.parse);
    if (incoming.kind === "answer") this.#requests.answered(incoming.id, incoming.result, incoming.error);
    else if (incoming.kind === "state") this.#watches.pushed(incoming.subscription, incoming.record);
    else if (incoming.kind === "freshness") this.#watches.told(incoming);
    else if (incoming.kind === "drain") this.#link.drain(incoming.reconnectInMs);
  }
  // There is no subscription of that id: `false` is the answer, and the server had next to nothing to do.
  #probe() {
    const nothing = () => {
    };
    this.#requests.ask({
      kind: "bound",
      method: "unsubscribe",
      params: '["heartbeat"]',
      done: nothing,
      failed: nothing
    });
  }
};
function idempotencyKey() {
  const { crypto } = globalThis;
  const random = () => Math.floor(Math.random() * 2 ** 32);
  const words = crypto?.getRandomValues(new Uint32Array(4)) ?? Uint32Array.from({ length: 4 }, random);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
}
function place(collection, key) {
  return { collection: JSON.stringify(collection), key: JSON.stringify(key) };
}
function reading({ minStamp, maxStaleMs }) {
  return { min_stamp: minStamp && JSON.stringify(minStamp), max_stale_ms: maxStaleMs?.toString() };
}
function writing({ ifStamp, idempotencyKey: idempotencyKey2 }) {
  return {
    if_stamp: ifStamp && JSON.stringify(ifStamp),
    idempotency_key: idempotencyKey2 && JSON.stringify(idempotencyKey2)
  };
}
export {
  Backoff,
  Client,
  FreshetError,
  compareStamps,
  idempotencyKey
};
