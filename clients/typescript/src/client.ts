import { Calls } from "./calls.js";
import { asyncDispose, dispose } from "./dispose.js";
import { closed, type FreshetError } from "./errors.js";
import type { Proven } from "./freshness.js";
import { read } from "./incoming.js";
import { type ConnectionState, Link } from "./link.js";
import { list, type Listed, type ListOptions } from "./list.js";
import { addresses, obstacle, type Options, type Settings, settings } from "./options.js";
import {
  type Change,
  place,
  places,
  type ReadOptions,
  reading,
  type RequestOptions,
  type WriteOptions,
  writing,
} from "./parameters.js";
import { type RecordState, stateOf, type WireRecord, type Written } from "./record.js";
import { Requests } from "./requests.js";
import type { AnySchema, FreeName, NameOf } from "./schema.js";
import { onWake } from "./wake.js";
import { Watch, type WatchOptions } from "./watch.js";
import { type Peek, Watches } from "./watches.js";

/**
 * Records from a Freshet server, and every newer state of those that are watched, over one WebSocket that heals itself.
 *
 * It connects when it is made. Requests made while there is no connection wait for one, within their time limit. Every
 * rejection of theirs is a {@link FreshetError}, except that an aborted one rejects with its signal's reason.
 *
 * `Client<Schema>` knows the rows' types by collection; `freshet-types` writes such a schema.
 */
export class Client<S extends object = AnySchema> {
  readonly #settings: Settings;
  readonly #link: Link;
  readonly #requests: Requests;
  readonly #watches: Watches;
  readonly #listeners = new Set<(state: ConnectionState) => void>();
  readonly #calls: Calls;
  readonly #sleep: () => void;

  /**
   * `url` is such as `wss://shop.example`, `127.0.0.1:8080`, or a path at the page's host; of several, the next one is tried
   * whenever a connection ends. Where there is no WebSocket, as where pages are rendered, the client is closed and says why.
   */
  constructor(url: string | readonly string[], options: Options = {}) {
    this.#settings = settings(options);
    const urls = addresses(url);
    this.#link = new Link(urls, this.#settings, {
      opened: () => (this.#watches.resume(), this.#requests.resume()),
      heard: (text) => this.#heard(text),
      lost: (code, heardAt) => (this.#requests.lost(code), this.#watches.lost(heardAt)),
      ended: (error) => (this.#sleep(), this.#requests.end(error), this.#watches.end(error)),
      changed: (state) => this.#listeners.forEach((listener) => listener(state)),
      probe: () => this.#probe(),
      isBusy: () => this.#requests.isBusy(),
    });
    this.#requests = new Requests(this.#link);
    this.#calls = new Calls(this.#requests, this.#settings.requestTimeoutMs, () => this.#ended());
    this.#watches = new Watches(this.#requests, this.#settings.lingerMs, () => this.#link.state.status === "open");
    this.#sleep = onWake(() => this.#link.wake());
    const why = obstacle(urls, this.#settings);
    if (why === undefined) this.#link.connect();
    else this.#link.close(closed(why));
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
  get<T = unknown>(collection: FreeName<S>, key: string, options?: ReadOptions): Promise<RecordState<T>>;
  get<C extends NameOf<S>>(collection: C, key: string, options?: ReadOptions): Promise<RecordState<S[C]>>;
  async get(collection: string, key: string, options: ReadOptions = {}): Promise<RecordState> {
    const params = { ...place(collection, key), ...reading(options) };
    const record = await this.#calls.ask({ kind: "read", method: "get", params, options });
    return this.#watches.answered(collection, key, stateOf(record as WireRecord));
  }

  /** Reads several records of one collection, answered in the order asked. */
  getMany<T = unknown>(collection: FreeName<S>, keys: readonly string[], options?: ReadOptions): Promise<RecordState<T>[]>;
  getMany<C extends NameOf<S>>(collection: C, keys: readonly string[], options?: ReadOptions): Promise<RecordState<S[C]>[]>;
  async getMany(collection: string, keys: readonly string[], options: ReadOptions = {}): Promise<RecordState[]> {
    const params = { ...places(collection, keys), ...reading(options) };
    const answer = await this.#calls.ask({ kind: "read", method: "get_many", params, options });
    const { records } = answer as { records: WireRecord[] };
    return records.map((record, at) => this.#watches.answered(collection, keys[at] as string, stateOf(record)));
  }

  /**
   * Goes through a collection in the order of its keys, page by page, by `for await`; absent records are left out. It may come
   * from a replica, so a record that is watched is handed on as it is known, if that is newer. A server that is too busy is asked
   * again after the time that it says.
   */
  list<T = unknown>(collection: FreeName<S>, options?: ListOptions): AsyncGenerator<Listed<T>, void, undefined>;
  list<C extends NameOf<S>>(collection: C, options?: ListOptions): AsyncGenerator<Listed<S[C]>, void, undefined>;
  list(collection: string, options: ListOptions = {}): AsyncGenerator<Listed<any>, void, undefined> {
    return list(this.#calls, this.#watches, collection, options);
  }

  /** Up to when what the server has of `keys` is proven, whether they are watched or not. */
  async freshness(collection: NameOf<S>, keys: string | readonly string[], options: RequestOptions = {}): Promise<Proven> {
    const answer = await this.#calls.ask({ kind: "read", method: "freshness", params: places(collection, keys), options });
    const { fresh, age_ms, keys: stale = [] } = answer as { fresh: boolean; age_ms: number; keys?: string[] };
    return { isFresh: fresh, ageMs: age_ms, keys: stale };
  }

  /** Replaces a record: a column left out takes its default. */
  put<C extends NameOf<S>>(collection: C, key: string, value: Partial<S[C]>, options: WriteOptions = {}): Promise<Written> {
    const params = { ...place(collection, key), value: this.#settings.stringify(value), ...writing(options) };
    return this.#calls.write("put", params, options);
  }

  /** Changes part of a record, or creates it. With `returns`, the answer carries the record's new value. */
  patch<T = unknown>(
    collection: FreeName<S>,
    key: string,
    change: Change,
    options?: WriteOptions & { returns?: boolean },
  ): Promise<Written<T>>;
  patch<C extends NameOf<S>>(
    collection: C,
    key: string,
    change: Change<S[C]>,
    options?: WriteOptions & { returns?: boolean },
  ): Promise<Written<S[C]>>;
  async patch(
    collection: string,
    key: string,
    { merge, increment }: Change,
    options: WriteOptions & { returns?: boolean } = {},
  ): Promise<Written> {
    const { stringify } = this.#settings;
    const params = {
      ...place(collection, key),
      value: merge && stringify(merge),
      increment: increment && stringify(increment),
      ...writing(options),
      return: options.returns ? "true" : undefined,
    };
    const written = await this.#calls.write("patch", params, options);
    if (written.value !== undefined) this.#watches.answered(collection, key, stateOf(written));
    return written;
  }

  /** Removes a record. The answer's stamp is the deletion's. */
  delete(collection: NameOf<S>, key: string, options: WriteOptions = {}): Promise<Written> {
    return this.#calls.write("delete", { ...place(collection, key), ...writing(options) }, options);
  }

  /**
   * Watches records: `listener` gets each one's present state first, then every newer one. States of one key never go
   * back, unless one says `reset`; a client that is slow may miss states, never the latest. Without a listener, go through the
   * states by `for await`.
   *
   * Watches of the same key share one subscription, whoever made them.
   */
  watch<T = unknown>(
    collection: FreeName<S>,
    keys: string | readonly string[],
    listener?: (state: RecordState<T>) => void,
    options?: WatchOptions<T>,
  ): Watch<T>;
  watch<C extends NameOf<S>>(
    collection: C,
    keys: string | readonly string[],
    listener?: (state: RecordState<S[C]>) => void,
    options?: WatchOptions<S[C]>,
  ): Watch<S[C]>;
  watch(
    collection: string,
    keys: string | readonly string[],
    listener?: (state: RecordState<any>) => void,
    options: WatchOptions<any> = {},
  ): Watch<any> {
    return new Watch(this.#watches, collection, keys, listener, options);
  }

  /**
   * What is known of a key without asking: of one that is watched, or was until a moment ago. With `initial`, what a watch that
   * begins with that state would know.
   */
  peek<T = unknown>(collection: FreeName<S>, key: string, initial?: RecordState<T>): Peek<T>;
  peek<C extends NameOf<S>>(collection: C, key: string, initial?: RecordState<S[C]>): Peek<S[C]>;
  peek(collection: string, key: string, initial?: RecordState): Peek {
    return this.#watches.peek(collection, key, initial);
  }

  /** Ends a wait for the next attempt to connect. */
  reconnect(): void {
    if (this.state.status === "waiting") this.#link.connect();
  }

  /** Closes the connection for good. Whatever still waits is rejected: writes under way as `outcome_unknown`. */
  close(): void {
    this.#link.close();
  }

  /** `using client`: closes it. */
  [dispose](): void {
    this.close();
  }

  /** `await using client`: closes it once the writes under way have come to an end. */
  async [asyncDispose](): Promise<void> {
    await this.#calls.settled();
    this.close();
  }

  #ended(): FreshetError | undefined {
    return this.state.status === "closed" ? this.state.error : undefined;
  }

  #heard(text: string): void {
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
