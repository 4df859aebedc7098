import { closed, FreshetError, OUTCOME_UNKNOWN } from "./errors.js";
import type { Proven } from "./freshness.js";
import { read } from "./incoming.js";
import { object } from "./json.js";
import { type ConnectionState, Link } from "./link.js";
import { addresses, type Options, type Settings, settings } from "./options.js";
import { type RecordState, stateOf, type WireRecord, type Written } from "./record.js";
import { type Kind, Requests } from "./requests.js";
import { onWake } from "./wake.js";
import { Watch, type WatchOptions } from "./watch.js";
import { Watches } from "./watches.js";

/** What every request may be told. */
export interface RequestOptions {
  /** From call to answer, reconnects included; the client's `requestTimeoutMs` unless given. */
  timeoutMs?: number;
  /** Gives the request up. A write that was sent then ends as `outcome_unknown`. */
  signal?: AbortSignal;
}

/** How fresh an answer must be. */
export interface ReadOptions extends RequestOptions {
  /** Not older than this stamp. */
  minStamp?: string;
  /** When nothing fresh can answer: how long past its freshness it may be. The server's own bound unless given. */
  maxStaleMs?: number;
}

/** Under which condition a write is done, and how. */
export interface WriteOptions extends RequestOptions {
  /** Only if the record is at this stamp; `"0"`: only if it does not exist. */
  ifStamp?: string;
  /** Names the write, 1 to 255 bytes, so that it is repeated after a lost connection and still done once. */
  idempotencyKey?: string;
}

/** How a record is to change; at least one of the two. */
export interface Change {
  /** Members to set, merged as RFC 7396 says. */
  merge?: Readonly<Record<string, unknown>>;
  /** What to add to numeric columns, exactly: `{ stock: -1 }`. */
  increment?: Readonly<Record<string, unknown>>;
}

type Ask = { kind: Kind; method: string; params: string; options: RequestOptions };

// How long a write of unknown outcome is left alone before it is repeated, unless the server says.
const REPEAT_MS = 500;

/**
 * Records from a Freshet server, and every newer state of those that are watched, over one WebSocket that heals itself.
 *
 * It connects when it is made. Requests made while there is no connection wait for one, within their time limit. Every
 * rejection of theirs is a {@link FreshetError}.
 */
export class Client {
  readonly #settings: Settings;
  readonly #link: Link;
  readonly #requests: Requests;
  readonly #watches: Watches;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  readonly #sleep: () => void;

  /** `url` is such as `wss://shop.example`; of several, the next one is tried whenever a connection ends. */
  constructor(url: string | readonly string[], options: Options = {}) {
    this.#settings = settings(options);
    this.#link = new Link(addresses(url), this.#settings, {
      opened: () => (this.#watches.resume(), this.#requests.resume()),
      heard: (text) => this.#heard(text),
      lost: (code, heardAt) => (this.#requests.lost(code), this.#watches.lost(heardAt)),
      ended: (error) => (this.#sleep(), this.#requests.end(error), this.#watches.end(error)),
      changed: (state) => this.#listeners.forEach((listener) => listener(state)),
      probe: () => this.#probe(),
      isBusy: () => this.#requests.isBusy(),
    });
    this.#requests = new Requests(this.#link);
    this.#watches = new Watches(this.#requests, () => this.#link.state.status === "open");
    this.#sleep = onWake(() => this.#link.wake());
    this.#link.connect();
  }

  /** What the connection is up to. */
  get state(): ConnectionState {
    return this.#link.state;
  }

  /** Calls `listener` at each change of `state`. Answers a way to stop that. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Reads a record. An absent one is an answer, with `value: null`. */
  async get<T = unknown>(collection: string, key: string, options: ReadOptions = {}): Promise<RecordState<T>> {
    const params = object({ ...place(collection, key), ...reading(options) });
    const record = await this.#ask({ kind: "read", method: "get", params, options });
    return this.#watches.answered(collection, key, stateOf(record as WireRecord)) as RecordState<T>;
  }

  /** Reads several records of one collection, answered in the order asked. */
  async getMany<T = unknown>(
    collection: string,
    keys: readonly string[],
    options: ReadOptions = {},
  ): Promise<RecordState<T>[]> {
    const params = object({ collection: JSON.stringify(collection), keys: JSON.stringify(keys), ...reading(options) });
    const { records } = (await this.#ask({ kind: "read", method: "get_many", params, options })) as {
      records: WireRecord[];
    };
    const newest = records.map((record, at) => this.#watches.answered(collection, keys[at] as string, stateOf(record)));
    return newest as RecordState<T>[];
  }

  /** Up to when what the server has of `keys` is proven, whether they are watched or not. */
  async freshness(collection: string, keys: string | readonly string[], options: RequestOptions = {}): Promise<Proven> {
    const params = object({ collection: JSON.stringify(collection), keys: JSON.stringify([keys].flat()) });
    const answer = await this.#ask({ kind: "read", method: "freshness", params, options });
    const { fresh, age_ms, keys: stale = [] } = answer as { fresh: boolean; age_ms: number; keys?: string[] };
    return { isFresh: fresh, ageMs: age_ms, keys: stale };
  }

  /** Replaces a record: a column left out takes its default. */
  put(collection: string, key: string, value: unknown, options: WriteOptions = {}): Promise<Written> {
    const params = { ...place(collection, key), value: this.#settings.stringify(value), ...writing(options) };
    return this.#write("put", params, options);
  }

  /** Changes part of a record, or creates it. With `returns`, the answer carries the record's new value. */
  async patch<T = unknown>(
    collection: string,
    key: string,
    change: Change,
    options: WriteOptions & { returns?: boolean } = {},
  ): Promise<Written<T>> {
    const { stringify } = this.#settings;
    const params = {
      ...place(collection, key),
      value: change.merge && stringify(change.merge),
      increment: change.increment && stringify(change.increment),
      ...writing(options),
      return: options.returns ? "true" : undefined,
    };
    const written = await this.#write("patch", params, options);
    if (written.value !== undefined) this.#watches.answered(collection, key, stateOf(written));
    return written as Written<T>;
  }

  /** Removes a record. The answer's stamp is the deletion's. */
  delete(collection: string, key: string, options: WriteOptions = {}): Promise<Written> {
    return this.#write("delete", { ...place(collection, key), ...writing(options) }, options);
  }

  /**
   * Watches records: `listener` gets each one's present state first, then every newer one. States of one key never go
   * back, unless one says `reset`; a client that is slow may miss states, never the latest.
   *
   * Watches of the same key share one subscription, whoever made them.
   */
  watch<T = unknown>(
    collection: string,
    keys: string | readonly string[],
    listener: (state: RecordState<T>) => void,
    options: WatchOptions = {},
  ): Watch {
    return new Watch(this.#watches, collection, keys, listener as (state: RecordState) => void, options);
  }

  /** Ends a wait for the next attempt to connect. */
  reconnect(): void {
    if (this.state.status === "waiting") this.#link.connect();
  }

  /** Closes the connection for good. Whatever still waits is rejected: writes under way as `outcome_unknown`. */
  close(): void {
    this.#link.close();
  }

  async #write(method: string, params: Record<string, string | undefined>, options: WriteOptions): Promise<Written> {
    const kind = options.idempotencyKey === undefined ? "once" : "keyed";
    const until = Date.now() + this.#timeoutMs(options);
    for (;;) {
      const timeoutMs = Math.max(1, until - Date.now());
      try {
        return (await this.#ask({
          kind,
          method,
          params: object(params),
          options: { ...options, timeoutMs },
        })) as Written;
      } catch (error) {
        // The server, not this client, could not tell what became of it. Under its key it may be repeated.
        const isUnknown = error instanceof FreshetError && error.code === OUTCOME_UNKNOWN && "reason" in error.data;
        const waitMs = isUnknown ? (error.retryAfterMs ?? REPEAT_MS) : 0;
        const isOver = this.state.status === "closed" || options.signal?.aborted || Date.now() + waitMs >= until;
        if (kind === "once" || !isUnknown || isOver) throw error;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  #ask({ kind, method, params, options }: Ask): Promise<unknown> {
    if (this.state.status === "closed") return Promise.reject(this.state.error);
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(closed("the request was given up"));
    return new Promise((resolve, reject) => {
      const over =
        <A>(act: (value: A) => void) =>
        (value: A) => (signal?.removeEventListener("abort", abort), act(value));
      const abort = (): void => giveUp(closed("the request was given up"));
      const timeoutMs = this.#timeoutMs(options);
      const giveUp = this.#requests.ask({ kind, method, params, timeoutMs, done: over(resolve), failed: over(reject) });
      signal?.addEventListener("abort", abort);
    });
  }

  #timeoutMs({ timeoutMs }: RequestOptions): number {
    return timeoutMs ?? this.#settings.requestTimeoutMs;
  }

  #heard(text: string): void {
    const incoming = read(text, this.#settings.parse);
    if (incoming.kind === "answer") this.#requests.answered(incoming.id, incoming.result, incoming.error);
    else if (incoming.kind === "state") this.#watches.pushed(incoming.subscription, incoming.record);
    else if (incoming.kind === "freshness") this.#watches.told(incoming);
    else if (incoming.kind === "drain") this.#link.drain(incoming.reconnectInMs);
  }

  // There is no subscription of that id: `false` is the answer, and the server had next to nothing to do.
  #probe(): void {
    const nothing = (): void => {};
    this.#requests.ask({
      kind: "bound",
      method: "unsubscribe",
      params: '["heartbeat"]',
      done: nothing,
      failed: nothing,
    });
  }
}

/** A new idempotency key. */
export function idempotencyKey(): string {
  // It must be new, not secret, so where there is no `crypto` (Node 18) any random numbers will do. `randomUUID` is
  // missing on pages that came over plain http.
  const { crypto } = globalThis as { crypto?: Crypto };
  const random = (): number => Math.floor(Math.random() * 2 ** 32);
  const words = crypto?.getRandomValues(new Uint32Array(4)) ?? Uint32Array.from({ length: 4 }, random);
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
}

function place(collection: string, key: string): Record<string, string> {
  return { collection: JSON.stringify(collection), key: JSON.stringify(key) };
}

function reading({ minStamp, maxStaleMs }: ReadOptions): Record<string, string | undefined> {
  return { min_stamp: minStamp && JSON.stringify(minStamp), max_stale_ms: maxStaleMs?.toString() };
}

function writing({ ifStamp, idempotencyKey }: WriteOptions): Record<string, string | undefined> {
  return {
    if_stamp: ifStamp && JSON.stringify(ifStamp),
    idempotency_key: idempotencyKey && JSON.stringify(idempotencyKey),
  };
}
