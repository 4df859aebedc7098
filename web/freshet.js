// The TypeScript client of Freshet, made from clients/typescript/src by `npm run build` there.

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

// src/calls.ts
var REPEAT_MS = 500;
var Calls = class {
  #requests;
  #timeoutMs;
  /** Why no request can be answered any more, if so. */
  #ended;
  #writes = /* @__PURE__ */ new Set();
  constructor(requests, timeoutMs, ended) {
    this.#requests = requests;
    this.#timeoutMs = timeoutMs;
    this.#ended = ended;
  }
  ask({ kind, method, params, options }) {
    const { signal, timeoutMs = this.#timeoutMs } = options;
    const ended = this.#ended();
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      const abort = () => giveUp(closed("the request was given up"));
      const done = (result) => (signal?.removeEventListener("abort", abort), resolve(result));
      const failed = (error) => {
        signal?.removeEventListener("abort", abort);
        reject(signal?.aborted ? signal.reason : error);
      };
      const giveUp = this.#requests.ask({ kind, method, params: object(params), timeoutMs, done, failed });
      signal?.addEventListener("abort", abort);
    });
  }
  /** A read that is repeated within its time, where the server is too busy for it and says when to come back. */
  askPatiently(ask) {
    const spread = (ms) => ms * (1 + Math.random());
    return this.#repeat(ask, ({ isRetryable, retryAfterMs }) => isRetryable && retryAfterMs !== void 0 ? spread(retryAfterMs) : void 0);
  }
  write(method, params, options) {
    const kind = options.idempotencyKey === void 0 ? "once" : "keyed";
    const write = this.#repeat({ kind, method, params, options }, (error) => {
      const isUnknown = error.code === OUTCOME_UNKNOWN && "reason" in error.data;
      return kind === "keyed" && isUnknown ? error.retryAfterMs ?? REPEAT_MS : void 0;
    });
    const over = () => void this.#writes.delete(write);
    this.#writes.add(write);
    write.then(over, over);
    return write;
  }
  /** Resolves when the writes under way have come to an end, whichever. */
  async settled() {
    await Promise.allSettled(this.#writes);
  }
  /** Asks again after each error for which `waitMsAfter` gives a wait, as long as the time of the first request lasts. */
  async #repeat(ask, waitMsAfter) {
    const { options } = ask;
    const until = Date.now() + (options.timeoutMs ?? this.#timeoutMs);
    let before;
    for (; ; ) {
      const timeoutMs = Math.max(1, until - Date.now());
      try {
        return await this.ask({ ...ask, options: { ...options, timeoutMs } });
      } catch (error) {
        if (!(error instanceof FreshetError)) throw error;
        const waitMs = waitMsAfter(error);
        const isOver = waitMs === void 0 || this.#ended() !== void 0 || Date.now() + waitMs >= until;
        if (isOver) throw error.code === DEADLINE ? before ?? error : error;
        before = error;
        await pause(waitMs, options.signal);
      }
    }
  }
};
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => (clearTimeout(timer), reject(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", abort), resolve()), ms);
    signal?.addEventListener("abort", abort);
  });
}

// src/dispose.ts
var dispose = Symbol.dispose ?? /* @__PURE__ */ Symbol.for("Symbol.dispose");
var asyncDispose = Symbol.asyncDispose ?? /* @__PURE__ */ Symbol.for("Symbol.asyncDispose");

// src/incoming.ts
function read(text, parse) {
  return (text.startsWith("[") ? elements(text) : [text]).map((each) => readOne(each, parse));
}
function readOne(text, parse) {
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
  if (method === void 0 && id === null && error) return { kind: "refused", reason: error.data?.reason };
  return { kind: "other" };
}
function rereadResult(result, text, parse) {
  if (parse === void 0 || typeof result !== "object" || result === null) return result;
  const { records } = result;
  if (records === void 0) return reread(result, text, ["result"], parse);
  const texts = elements(slice(text, ["result", "records"]) ?? "[]");
  return { ...result, records: records.map((record, at) => reread(record, texts[at] ?? "", [], parse)) };
}
function reread(record, text, path, parse) {
  if (parse === void 0 || record.value === null || record.value === void 0) return record;
  const value = slice(text, [...path, "value"]);
  return value === void 0 ? record : { ...record, value: parse(value) };
}

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
    if (WebSocket === void 0) return;
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
  /** Gives the socket up, as if it had been lost. */
  renew(reason) {
    this.#lost(reason);
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

// src/list.ts
var PAGE_SIZE = 100;
async function* list(calls, watches, collection, { prefix, limit = Infinity, pageSize, ...options }) {
  if (limit !== Infinity && !(Number.isInteger(limit) && limit >= 0)) {
    throw new TypeError(`limit is ${String(limit)}: give a whole number, or leave it out to list all`);
  }
  let left = limit;
  let cursor;
  while (left > 0) {
    const size = Math.min(left, pageSize ?? PAGE_SIZE);
    const params = {
      collection: JSON.stringify(collection),
      prefix: prefix && JSON.stringify(prefix),
      limit: pageSize === void 0 && size === PAGE_SIZE ? void 0 : size.toString(),
      cursor: cursor && JSON.stringify(cursor)
    };
    const page = await calls.askPatiently({ kind: "read", method: "list", params, options });
    for (const record of page.records) {
      options.signal?.throwIfAborted();
      const state = watches.answered(collection, record.key, stateOf(record));
      if (!isThere(state)) continue;
      yield state;
      left -= 1;
    }
    cursor = page.cursor;
    if (cursor === void 0) return;
  }
}
function isThere(state) {
  return state.value !== null;
}

// src/options.ts
var DEFAULTS = {
  connectTimeoutMs: 1e4,
  requestTimeoutMs: 1e4,
  backoffBaseMs: 500,
  backoffCapMs: 2e4,
  heartbeatMs: 15e3,
  heartbeatTimeoutMs: 1e4,
  lingerMs: 5e3,
  stringify: (value) => JSON.stringify(value)
};
function settings(options) {
  for (const [name, value] of Object.entries(options)) {
    const isTime = name.endsWith("Ms");
    if (isTime && value !== void 0 && !(typeof value === "number" && value > 0 && value < 2 ** 31)) {
      throw new TypeError(`${name} is ${String(value)}: give milliseconds, above 0 and below 2^31`);
    }
  }
  const { WebSocket } = globalThis;
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== void 0));
  return { ...DEFAULTS, ...WebSocket && { WebSocket }, ...given };
}
function obstacle(urls, { WebSocket }) {
  if (WebSocket === void 0) {
    return "there is no WebSocket here: give one as options.WebSocket, such as that of the package ws";
  }
  const path = urls.find(isPath);
  return path === void 0 ? void 0 : `there is no page here that ${path} could be of: give a URL such as wss://shop.example`;
}
function addresses(urls) {
  const list2 = typeof urls === "string" ? [urls] : urls;
  if (list2.length === 0) throw new TypeError("give at least one URL");
  return list2.map(address);
}
function address(given) {
  const { location } = globalThis;
  if (isPath(given) && location === void 0) return given;
  const hasScheme = given.includes("://");
  const scheme = location?.protocol === "https:" ? "wss" : "ws";
  let url;
  try {
    url = new URL(hasScheme || isPath(given) ? given : `${scheme}://${given}`, location?.href);
  } catch {
    throw new TypeError(`${JSON.stringify(given)} is no URL: give one such as wss://shop.example or 127.0.0.1:8080`);
  }
  const isHttp = /^https?:$/.test(url.protocol);
  if (!isHttp && !/^wss?:$/.test(url.protocol)) {
    throw new TypeError(`${given} is no WebSocket's URL: it begins with wss://, ws://, https:// or http://`);
  }
  if (isHttp) url.protocol = url.protocol.replace("http", "ws");
  if (url.pathname === "/") url.pathname = "/v1/ws";
  url.hash = "";
  return url.href;
}
function isPath(given) {
  return given.startsWith("/");
}

// src/parameters.ts
function place(collection, key) {
  return { collection: JSON.stringify(collection), key: JSON.stringify(key) };
}
function places(collection, keys) {
  return { collection: JSON.stringify(collection), keys: JSON.stringify([keys].flat()) };
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

// src/requests.ts
var MESSAGE_TOO_LARGE = 1009;
var BATCH_MAX = 100;
var Requests = class {
  #line;
  #calls = /* @__PURE__ */ new Map();
  #lastId = 0;
  // Texts that leave at the end of this turn, or before the next other request.
  #gathered = [];
  #batchMax = BATCH_MAX;
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
    this.#flush();
    for (const [id, call] of this.#calls) this.#send(id, call);
  }
  /** The server takes no such batches: from now on each request travels alone. */
  separate() {
    this.#batchMax = 1;
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
    this.#gathered = [];
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
    const text = `{"jsonrpc":"2.0","id":${id},"method":"${call.method}","params":${call.params}}`;
    if (call.kind === "bound") return this.#gather(text);
    this.#flush();
    this.#line.send(text);
  }
  #gather(text) {
    if (this.#gathered.push(text) === 1) queueMicrotask(() => this.#flush());
    if (this.#gathered.length >= this.#batchMax) this.#flush();
  }
  #flush() {
    const texts = this.#gathered;
    this.#gathered = [];
    if (texts.length > 0) this.#line.send(texts.length === 1 ? texts[0] : `[${texts.join(",")}]`);
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

// src/states.ts
var States = class {
  #waiting = /* @__PURE__ */ new Map();
  #takers = [];
  #ended;
  // The last state that came of each key, taken or not.
  #last = /* @__PURE__ */ new Map();
  #error;
  #isOver = false;
  /** @internal `ended` is called when the one who takes them has enough. */
  constructor(ended) {
    this.#ended = ended;
  }
  /** @internal */
  add(asked, state) {
    if (this.#isOver || this.#last.get(asked) === state) return;
    this.#last.set(asked, state);
    const taker = this.#takers.shift();
    if (taker) return taker.resolve({ done: false, value: state });
    const isReset = state.reset === true || this.#waiting.get(asked)?.reset === true;
    this.#waiting.set(asked, isReset ? { ...state, reset: true } : state);
  }
  /** @internal Ends them, with `error` if there is one, behind the states that wait. */
  end(error) {
    if (this.#isOver) return;
    this.#isOver = true;
    const [first, ...rest] = this.#takers.splice(0);
    if (error !== void 0 && first) first.reject(error);
    else if (error !== void 0) this.#error = { cause: error };
    else first?.resolve({ done: true, value: void 0 });
    for (const taker of rest) taker.resolve({ done: true, value: void 0 });
  }
  next() {
    for (const [key, value] of this.#waiting) {
      this.#waiting.delete(key);
      return Promise.resolve({ done: false, value });
    }
    const error = this.#error;
    this.#error = void 0;
    if (error) return Promise.reject(error.cause);
    if (this.#isOver) return Promise.resolve({ done: true, value: void 0 });
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }
  return() {
    this.#waiting.clear();
    this.#error = void 0;
    this.end();
    this.#ended();
    return Promise.resolve({ done: true, value: void 0 });
  }
  [Symbol.asyncIterator]() {
    return this;
  }
  async [asyncDispose]() {
    await this.return();
  }
};

// src/watch.ts
var Watch = class {
  collection;
  #watches;
  #listener;
  #options;
  #readers = /* @__PURE__ */ new Map();
  #iterated = /* @__PURE__ */ new Set();
  #isClosed = false;
  #refusal;
  /** @internal Made by `Client.watch`. */
  constructor(watches, collection, keys, listener, options) {
    this.#watches = watches;
    this.collection = collection;
    this.#listener = listener;
    this.#options = options;
    const { initial } = options;
    if (typeof keys === "string" && initial && "stamp" in initial) this.#open(keys, initial);
    else this.show([keys].flat());
  }
  /** The keys watched. */
  get keys() {
    return [...this.#readers.keys()];
  }
  /** Whether the server has confirmed the subscriptions to all keys on the present connection. */
  get isLive() {
    return this.keys.every((key) => this.#known(key).isLive);
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
    return this.#readers.has(key) ? this.#known(key).freshness : UNKNOWN;
  }
  /** The newest state known of a watched key. */
  state(key) {
    return this.#readers.has(key) ? this.#known(key).state : void 0;
  }
  /** Watches exactly `keys` from now on. Those that stay go on undisturbed. */
  show(keys) {
    const wanted = new Set(keys);
    this.#isClosed = false;
    for (const key of wanted) if (!this.#readers.has(key)) this.#open(key);
    for (const key of this.keys) if (!wanted.has(key)) this.#close(key);
  }
  /** Ends the watch. Its listener is not called again. */
  close() {
    this.show([]);
    this.#isClosed = true;
    for (const states of this.#iterated) states.end();
    this.#iterated.clear();
  }
  /** `using watch`: closes it. */
  [dispose]() {
    this.close();
  }
  /** The known states first, then every newer one. */
  [Symbol.asyncIterator]() {
    const states = new States(() => {
      this.#iterated.delete(states);
      if (!this.#listener) this.close();
    });
    for (const key of this.keys) {
      const state = this.state(key);
      if (state) states.add(key, state);
    }
    if (this.#isClosed) states.end();
    else if (this.#refusal && this.#readers.size === 0) states.end(this.#refusal);
    else this.#iterated.add(states);
    return states;
  }
  #open(key, initial = this.#initial(key)) {
    const reader = {
      state: (state) => this.#handed(key, state),
      freshness: (freshness) => this.#options.onFreshness?.(freshness, key),
      live: () => this.#options.onLive?.(key),
      lost: () => this.#options.onLost?.(key),
      refused: (error) => this.#refused(key, error)
    };
    this.#readers.set(key, reader);
    this.#watches.add(this.collection, key, reader, initial);
  }
  #close(key) {
    const reader = this.#readers.get(key);
    this.#readers.delete(key);
    if (reader) this.#watches.remove(this.collection, key, reader);
  }
  #handed(key, state) {
    for (const states of this.#iterated) states.add(key, state);
    this.#listener?.(state);
  }
  #refused(key, error) {
    this.#readers.delete(key);
    this.#refusal = error;
    const { onError } = this.#options;
    for (const states of this.#iterated) {
      if (onError && this.#readers.size > 0) continue;
      states.end(onError ? void 0 : error);
      this.#iterated.delete(states);
    }
    onError?.(error, key);
  }
  #initial(key) {
    return [this.#options.initial ?? []].flat().find((state) => state.key === key);
  }
  #known(key) {
    return this.#watches.peek(this.collection, key);
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
  /** `seen` is the highest stamp that was known of the key before, if any: nothing older is accepted. */
  constructor(seen) {
    this.#seen = seen;
  }
  /** The highest stamp so far. */
  get seen() {
    return this.#seen;
  }
  /** Where to resume from, if anywhere: version 0 is no state. */
  get since() {
    return this.state === void 0 || this.#seen?.endsWith(".0") ? void 0 : this.#seen;
  }
  /** Subscribed anew: the next push is a snapshot. */
  resume() {
    this.#isTold = false;
  }
  /** Takes a pushed state if it is news; answers whether it was. */
  push(state) {
    const isSnapshot = !this.#isTold;
    this.#isTold = true;
    return this.#isNews(state, isSnapshot) && this.#take(state);
  }
  /** Takes the state that an answer brought, if it is news; answers whether it was. */
  answer(state) {
    return this.accepts(state) && this.#take(state);
  }
  /** Whether `state` would be news if an answer brought it. */
  accepts(state) {
    return this.#isNews(state, false);
  }
  // A stamp must rise. Two states need not: one of another generation that is marked `reset`; and, as a snapshot
  // only, an absence at version 0, the answer for a deletion older than the store remembers.
  #isNews(state, isSnapshot) {
    if (this.#seen === void 0) return true;
    const order = compareStamps(state.stamp, this.#seen);
    if (order > 0 || order === 0 && this.state === void 0) return true;
    const isReset = state.reset === true && generationOf(state.stamp) !== generationOf(this.#seen);
    const isForgotten = isSnapshot && state.version === 0 && state.value === null && this.state?.value !== null;
    return isReset || isForgotten;
  }
  #take(state) {
    if (state.version > 0 || this.#seen === void 0) this.#seen = state.stamp;
    this.state = state;
    return true;
  }
};

// src/lingering.ts
var TOGETHER_MS = 250;
var Lingering = class {
  #ms;
  #max;
  #release;
  // In the order in which they are due.
  #dueAt = /* @__PURE__ */ new Map();
  #timer;
  constructor(ms, max, release) {
    this.#ms = ms;
    this.#max = max;
    this.#release = release;
  }
  add(thing) {
    this.#dueAt.set(thing, Date.now() + this.#ms);
    if (this.#dueAt.size > this.#max) this.#end(this.#dueAt.keys().next().value);
    this.#timer ??= setTimeout(() => this.#sweep(), this.#ms);
  }
  /** It is in use again, or gone. */
  remove(thing) {
    this.#dueAt.delete(thing);
    if (this.#dueAt.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = void 0;
  }
  /** Releases all at once; answers whether there were any. */
  clear() {
    const all = [...this.#dueAt.keys()];
    for (const thing of all) this.#end(thing);
    return all.length > 0;
  }
  #sweep() {
    this.#timer = void 0;
    const now = Date.now();
    for (const [thing, dueAt] of this.#dueAt) {
      if (dueAt > now + TOGETHER_MS) {
        this.#timer = setTimeout(() => this.#sweep(), dueAt - now);
        return;
      }
      this.#end(thing);
    }
  }
  #end(thing) {
    this.remove(thing);
    this.#release(thing);
  }
};

// src/topic.ts
var Topic = class {
  /** `seen` is the highest stamp that was known of the key before. */
  constructor(collection, key, seen) {
    this.collection = collection;
    this.key = key;
    this.known = new Known(seen);
  }
  collection;
  key;
  known;
  freshness = UNKNOWN;
  /** Whether the server has said on this socket how the key stands. */
  isJudged = false;
  /** With the state that each was handed last. */
  readers = /* @__PURE__ */ new Map();
  /** The server's id, once it has confirmed the subscription on this socket. */
  id = null;
  isAsking = false;
  retry;
  /** Has the server's word on how the key stands. */
  judge(freshness) {
    const before = this.freshness;
    this.freshness = freshness;
    this.isJudged = true;
    const isNews = before.isFresh !== freshness.isFresh || before.provenAt === void 0 !== (freshness.provenAt === void 0);
    if (isNews) this.tell((reader) => reader.freshness(freshness));
  }
  hand(state) {
    this.tell((reader) => this.handTo(reader, state));
  }
  // A listener may have been handed the state already.
  handTo(reader, state) {
    if (this.readers.get(reader) === state) return;
    this.readers.set(reader, state);
    reader.state(state);
  }
  /** Lets `act` call every reader. One may close its neighbour. */
  tell(act) {
    for (const reader of [...this.readers.keys()]) this.tellOne(reader, act);
  }
  tellOne(reader, act) {
    if (this.readers.has(reader)) safely(() => act(reader));
  }
};
function safely(act) {
  try {
    act();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

// src/watches.ts
var RETRY_MS = 1e3;
var LINGERING_MAX = 1e3;
var SEEN_MAX = 1e4;
var Watches = class {
  #requests;
  #isOpen;
  #topics = /* @__PURE__ */ new Map();
  #byId = /* @__PURE__ */ new Map();
  #lingering;
  // A page that comes back to a key must not be handed an older state, by another node or from an old rendering.
  #seen = /* @__PURE__ */ new Map();
  // When subscriptions without readers were ended for the sake of others.
  #madeRoomAt = -Infinity;
  #ended = null;
  constructor(requests, lingerMs, isOpen) {
    this.#requests = requests;
    this.#lingering = new Lingering(lingerMs, LINGERING_MAX, (topic) => this.#release(topic));
    this.#isOpen = isOpen;
  }
  /**
   * Adds a reader of a key, who may know a state of it already. What is known is handed to it at once, but not before this
   * returns.
   */
  add(collection, key, reader, initial) {
    const topic = this.#topics.get(nameOf(collection, key)) ?? this.#open(collection, key);
    this.#lingering.remove(topic);
    if (initial && topic.known.answer(initial)) topic.hand(initial);
    topic.readers.set(reader, void 0);
    this.#subscribe(topic);
    queueMicrotask(() => {
      if (this.#ended) return this.#refuse(topic, this.#ended);
      const { state } = topic.known;
      if (state) topic.tellOne(reader, () => topic.handTo(reader, state));
      if (topic.freshness !== UNKNOWN) topic.tellOne(reader, () => reader.freshness(topic.freshness));
      if (topic.id !== null) topic.tellOne(reader, () => reader.live());
    });
  }
  /** Takes a reader away; some time after the last of a key its subscription ends, unless another comes. */
  remove(collection, key, reader) {
    const topic = this.#topics.get(nameOf(collection, key));
    if (topic?.readers.delete(reader) && topic.readers.size === 0) this.#lingering.add(topic);
  }
  /** What is known of a key, or would be to a reader that comes with `initial`. */
  peek(collection, key, initial) {
    const name = nameOf(collection, key);
    const topic = this.#topics.get(name);
    const known = topic?.known ?? new Known(this.#seen.get(name));
    const state = initial && known.accepts(initial) ? initial : known.state;
    return { state, freshness: topic?.freshness ?? UNKNOWN, isLive: topic !== void 0 && topic.id !== null };
  }
  /** Takes in what an answer brought of a key, if it is watched; answers the newest state of it. */
  answered(collection, asked, state) {
    const topic = this.#topics.get(nameOf(collection, asked));
    if (!topic) return state;
    if (topic.known.answer(state)) topic.hand(state);
    return topic.known.state ?? state;
  }
  pushed(id, record) {
    const topic = this.#byId.get(id);
    const state = stateOf(record);
    if (topic?.known.push(state)) topic.hand(state);
    if (topic && !topic.isJudged) topic.judge(freshnessOf(state.staleMs === void 0, state.staleMs ?? 0));
  }
  /** The server says how subscriptions stand; each has one key. */
  told({ isFresh, ageMs, subscriptions }) {
    const freshness = freshnessOf(isFresh, ageMs);
    for (const id of subscriptions) this.#byId.get(id)?.judge(freshness);
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
      const wasLive = topic.id !== null;
      topic.id = null;
      topic.judge(topic.freshness.lost(heardAt));
      topic.isJudged = false;
      if (wasLive) topic.tell((reader) => reader.lost());
    }
  }
  /** No socket will come again. */
  end(error) {
    this.#ended = error;
    for (const topic of [...this.#topics.values()]) this.#refuse(topic, error);
  }
  #open(collection, key) {
    const name = nameOf(collection, key);
    const topic = new Topic(collection, key, this.#seen.get(name));
    this.#topics.set(name, topic);
    return topic;
  }
  #subscribe(topic) {
    if (topic.isAsking || topic.id !== null || topic.readers.size === 0 || !this.#isOpen()) return;
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
    topic.tell((reader) => reader.live());
  }
  #failed(topic, error) {
    topic.isAsking = false;
    if (error.reason === "closed" || !this.#isCurrent(topic)) return;
    const mayRetry = error.isRetryable || error.reason === "subscriptions" && this.#makesRoom();
    if (!mayRetry) return this.#refuse(topic, error);
    const waitMs = error.retryAfterMs ?? RETRY_MS;
    topic.retry = setTimeout(() => this.#subscribe(topic), waitMs * (1 + Math.random()));
  }
  // The server allows no more subscriptions. End those without readers before giving this one up.
  #makesRoom() {
    if (this.#lingering.clear()) this.#madeRoomAt = Date.now();
    return Date.now() - this.#madeRoomAt < RETRY_MS;
  }
  #refuse(topic, error) {
    this.#forget(topic);
    topic.tell((reader) => reader.refused(error));
  }
  #release(topic) {
    this.#forget(topic);
    if (topic.id !== null) this.#unsubscribe(topic.id);
  }
  #forget(topic) {
    clearTimeout(topic.retry);
    this.#lingering.remove(topic);
    if (topic.id !== null) this.#byId.delete(topic.id);
    if (!this.#isCurrent(topic)) return;
    const name = nameOf(topic.collection, topic.key);
    this.#topics.delete(name);
    this.#remember(name, topic.known.seen);
  }
  #remember(name, stamp) {
    this.#seen.delete(name);
    if (stamp !== void 0) this.#seen.set(name, stamp);
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value);
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

// src/client.ts
var Client = class {
  #settings;
  #link;
  #requests;
  #watches;
  #listeners = /* @__PURE__ */ new Set();
  #calls;
  #sleep;
  /**
   * `url` is such as `wss://shop.example`, `127.0.0.1:8080`, or a path at the page's host; of several, the next one is tried
   * whenever a connection ends. Where there is no WebSocket, as where pages are rendered, the client is closed and says why.
   */
  constructor(url, options = {}) {
    this.#settings = settings(options);
    const urls = addresses(url);
    this.#link = new Link(urls, this.#settings, {
      opened: () => (this.#watches.resume(), this.#requests.resume()),
      heard: (text) => this.#heard(text),
      lost: (code, heardAt) => (this.#requests.lost(code), this.#watches.lost(heardAt)),
      ended: (error) => (this.#sleep(), this.#requests.end(error), this.#watches.end(error)),
      changed: (state) => this.#listeners.forEach((listener) => listener(state)),
      probe: () => this.#probe(),
      isBusy: () => this.#requests.isBusy()
    });
    this.#requests = new Requests(this.#link);
    this.#calls = new Calls(this.#requests, this.#settings.requestTimeoutMs, () => this.#ended());
    this.#watches = new Watches(this.#requests, this.#settings.lingerMs, () => this.#link.state.status === "open");
    this.#sleep = onWake(() => this.#link.wake());
    const why = obstacle(urls, this.#settings);
    if (why === void 0) this.#link.connect();
    else this.#link.close(closed(why));
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
  async get(collection, key, options = {}) {
    const params = { ...place(collection, key), ...reading(options) };
    const record = await this.#calls.ask({ kind: "read", method: "get", params, options });
    return this.#watches.answered(collection, key, stateOf(record));
  }
  async getMany(collection, keys, options = {}) {
    const params = { ...places(collection, keys), ...reading(options) };
    const answer = await this.#calls.ask({ kind: "read", method: "get_many", params, options });
    const { records } = answer;
    return records.map((record, at) => this.#watches.answered(collection, keys[at], stateOf(record)));
  }
  list(collection, options = {}) {
    return list(this.#calls, this.#watches, collection, options);
  }
  /** Up to when what the server has of `keys` is proven, whether they are watched or not. */
  async freshness(collection, keys, options = {}) {
    const answer = await this.#calls.ask({ kind: "read", method: "freshness", params: places(collection, keys), options });
    const { fresh, age_ms, keys: stale = [] } = answer;
    return { isFresh: fresh, ageMs: age_ms, keys: stale };
  }
  /** Replaces a record: a column left out takes its default. */
  put(collection, key, value, options = {}) {
    const params = { ...place(collection, key), value: this.#settings.stringify(value), ...writing(options) };
    return this.#calls.write("put", params, options);
  }
  async patch(collection, key, { merge, increment }, options = {}) {
    const { stringify } = this.#settings;
    const params = {
      ...place(collection, key),
      value: merge && stringify(merge),
      increment: increment && stringify(increment),
      ...writing(options),
      return: options.returns ? "true" : void 0
    };
    const written = await this.#calls.write("patch", params, options);
    if (written.value !== void 0) this.#watches.answered(collection, key, stateOf(written));
    return written;
  }
  /** Removes a record. The answer's stamp is the deletion's. */
  delete(collection, key, options = {}) {
    return this.#calls.write("delete", { ...place(collection, key), ...writing(options) }, options);
  }
  watch(collection, keys, listener, options = {}) {
    return new Watch(this.#watches, collection, keys, listener, options);
  }
  peek(collection, key, initial) {
    return this.#watches.peek(collection, key, initial);
  }
  /** Ends a wait for the next attempt to connect. */
  reconnect() {
    if (this.state.status === "waiting") this.#link.connect();
  }
  /** Closes the connection for good. Whatever still waits is rejected: writes under way as `outcome_unknown`. */
  close() {
    this.#link.close();
  }
  /** `using client`: closes it. */
  [dispose]() {
    this.close();
  }
  /** `await using client`: closes it once the writes under way have come to an end. */
  async [asyncDispose]() {
    await this.#calls.settled();
    this.close();
  }
  #ended() {
    return this.state.status === "closed" ? this.state.error : void 0;
  }
  #heard(text) {
    for (const incoming of read(text, this.#settings.parse)) {
      if (incoming.kind === "answer") this.#requests.answered(incoming.id, incoming.result, incoming.error);
      else if (incoming.kind === "state") this.#watches.pushed(incoming.subscription, incoming.record);
      else if (incoming.kind === "freshness") this.#watches.told(incoming);
      else if (incoming.kind === "drain") this.#link.drain(incoming.reconnectInMs);
      else if (incoming.kind === "refused" && incoming.reason === "batch") {
        this.#requests.separate();
        this.#link.renew("the server takes smaller batches only");
      }
    }
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

// src/idempotency.ts
function idempotencyKey() {
  const { crypto } = globalThis;
  const random = () => Math.floor(Math.random() * 2 ** 32);
  const words = crypto?.getRandomValues(new Uint32Array(4)) ?? Uint32Array.from({ length: 4 }, random);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
}
export {
  Backoff,
  Client,
  FreshetError,
  compareStamps,
  idempotencyKey
};
