import { Backoff } from "./backoff.js";
import { closed, type FreshetError } from "./errors.js";
import type { Settings, WebSocketLike } from "./options.js";

// A connection that lasted this long was a good one: the next wait starts small again. One that is accepted and
// closed at once, by an overloaded server, must not restart the backoff.
const STEADY_MS = 5_000;
// How long a draining connection waits for answers under way.
const DRAIN_GRACE_MS = 5_000;

const HEARTBEAT_MISSED = 4408;

/** What the connection is up to; a new object with each change. */
export type ConnectionState =
  | { readonly status: "connecting" }
  /** Open. `reconnectInMs` is there when the node drains and asked to be left after that time. */
  | { readonly status: "open"; readonly reconnectInMs?: number }
  /** Lost, for the `reason` given; the next attempt is `retryInMs` after the change, at `retryAt` (as `Date.now()`). */
  | { readonly status: "waiting"; readonly retryInMs: number; readonly retryAt: number; readonly reason: string }
  /** Over for good: closed here, or by the server in a way that no retry mends. */
  | { readonly status: "closed"; readonly error: FreshetError };

/** What a link tells its owner, and asks it. */
export interface Owner {
  /** A socket is open: resume, then repeat. */
  opened(): void;
  heard(text: string): void;
  /** The socket, on which the server was last heard at `heardAt`, is gone, closed with `code` if it was closed. */
  lost(code: number | undefined, heardAt: number): void;
  /** No socket will come again. */
  ended(error: FreshetError): void;
  changed(state: ConnectionState): void;
  /** Asks the server for any answer. */
  probe(): void;
  /** Whether an answer is still awaited on this socket. */
  isBusy(): boolean;
}

type Timer = ReturnType<typeof setTimeout>;

/** One socket at a time, replaced when it is lost. */
export class Link {
  state: ConnectionState = { status: "connecting" };

  readonly #urls: readonly string[];
  readonly #settings: Settings;
  readonly #owner: Owner;
  readonly #backoff: Backoff;
  #turn = 0;
  #socket: WebSocketLike | null = null;
  #openedAt = 0;
  #heardAt = 0;
  // When a sign of life was asked for that has not come.
  #probedAt: number | null = null;
  // While a node drains: when to come back, as Date.now().
  #drainAt: number | null = null;
  #isLeaving = false;
  #timer: Timer | undefined;
  #heartbeat: Timer | undefined;

  constructor(urls: readonly string[], settings: Settings, owner: Owner) {
    this.#urls = urls;
    this.#settings = settings;
    this.#owner = owner;
    this.#backoff = new Backoff(settings.backoffBaseMs, settings.backoffCapMs);
  }

  /** Whether a request may leave now. From a drain's notice on, only one that may be repeated. */
  takes(isRepeatable: boolean): boolean {
    return this.state.status === "open" && !this.#isLeaving && (isRepeatable || this.#drainAt === null);
  }

  send(text: string): void {
    this.#socket?.send(text);
  }

  /** Connects now, whatever wait is left. */
  connect(): void {
    this.#abandon();
    this.#enter({ status: "connecting" });
    const { WebSocket, connectTimeoutMs } = this.#settings;
    if (WebSocket === undefined) return;
    const socket = new WebSocket(this.#urls[this.#turn % this.#urls.length] as string);
    this.#socket = socket;
    // Handlers ask whether the socket is still ours: an abandoned one may speak for minutes.
    const own =
      <E>(act: (event: E) => void) =>
      (event: E) =>
        void (socket === this.#socket && act(event));
    socket.onopen = own(() => this.#opened());
    socket.onmessage = own(({ data }: { data: unknown }) => this.#heard(data));
    socket.onclose = own(({ code }: { code: number }) => this.#closed(code));
    socket.onerror = () => {}; // A close follows, and browsers do not say more.
    this.#timer = setTimeout(() => this.#lost(`no connection within ${connectTimeoutMs} ms`), connectTimeoutMs);
  }

  /** The node asks to be left, `ms` from now. Until it closes, the socket serves on. */
  drain(ms: number): void {
    this.#drainAt = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#leave(), ms);
    this.#enter({ status: "open", reconnectInMs: ms });
  }

  /** The last answer that was awaited has come. */
  idle(): void {
    if (this.#isLeaving) this.#move();
  }

  /** The network is back, or somebody looks: waiting has no point, and a silent socket is suspect. */
  wake(): void {
    if (this.state.status === "waiting" && this.#drainAt === null) this.connect();
    else if (this.state.status === "open") this.#probe();
  }

  /** Gives the socket up, as if it had been lost. */
  renew(reason: string): void {
    this.#lost(reason);
  }

  /** Closes for good. */
  close(error: FreshetError = closed("the client is closed")): void {
    if (this.state.status === "closed") return;
    this.#part();
    this.#enter({ status: "closed", error });
    this.#owner.ended(error);
  }

  #opened(): void {
    clearTimeout(this.#timer);
    this.#openedAt = this.#heardAt = Date.now();
    this.#probedAt = null;
    this.#drainAt = null;
    this.#listen();
    this.#enter({ status: "open" });
    this.#owner.opened();
  }

  #heard(data: unknown): void {
    this.#heardAt = Date.now();
    this.#probedAt = null;
    if (typeof data === "string") this.#owner.heard(data);
  }

  #closed(code: number): void {
    const said = `the server closed the connection with ${code}`;
    if (code >= 4400 && code < 4500 && code !== HEARTBEAT_MISSED) this.close(closed(said));
    else this.#lost(code === 1006 ? "the connection broke, or none was made" : said, code);
  }

  #lost(reason: string, code?: number): void {
    const wasOpen = this.state.status === "open";
    if (wasOpen && this.#isSteady()) this.#backoff.reset();
    // The wait that a drain asked for is waited once; if the attempt behind it fails, it is a failure like any other.
    const askedMs = wasOpen && this.#drainAt !== null ? Math.max(0, this.#drainAt - Date.now()) : null;
    if (askedMs === null) this.#drainAt = null;
    const retryInMs = askedMs ?? Math.round(this.#backoff.next());
    this.#part(code);
    this.#turn += 1;
    this.#timer = setTimeout(() => this.connect(), retryInMs);
    this.#enter({ status: "waiting", retryInMs, retryAt: Date.now() + retryInMs, reason });
  }

  #leave(): void {
    if (!this.#owner.isBusy()) return this.#move();
    this.#isLeaving = true;
    this.#timer = setTimeout(() => this.#move(), DRAIN_GRACE_MS);
  }

  // At once, as the node spread its clients already; but not again and again.
  #move(): void {
    this.#drainAt = null;
    if (!this.#isSteady()) return this.#lost("the node drains");
    this.#backoff.reset();
    this.#part();
    this.#turn += 1;
    this.connect();
  }

  #isSteady(): boolean {
    return Date.now() - this.#openedAt >= STEADY_MS;
  }

  // Leaves the socket, and tells of it if it had been open.
  #part(code?: number): void {
    const wasOpen = this.state.status === "open";
    this.#abandon();
    if (wasOpen) this.#owner.lost(code, this.#heardAt);
  }

  // Does not wait for a close that a dead line never answers.
  #abandon(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    this.#isLeaving = false;
    socket?.close(1000);
  }

  // The server's pings are invisible to a page, so a silent socket is tried out by a request of our own.
  #listen(): void {
    const { heartbeatMs, heartbeatTimeoutMs } = this.#settings;
    const dueAt = this.#probedAt === null ? this.#heardAt + heartbeatMs : this.#probedAt + heartbeatTimeoutMs;
    clearTimeout(this.#heartbeat);
    if (Date.now() < dueAt) this.#heartbeat = setTimeout(() => this.#listen(), dueAt - Date.now());
    else if (this.#probedAt === null) this.#probe();
    else this.#lost("the server fell silent");
  }

  #probe(): void {
    if (this.#probedAt !== null) return;
    this.#probedAt = Date.now();
    this.#owner.probe();
    this.#listen();
  }

  #enter(state: ConnectionState): void {
    this.state = state;
    this.#owner.changed(state);
  }
}
