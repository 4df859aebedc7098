import { dispose } from "./dispose.js";
import type { FreshetError } from "./errors.js";
import { type Freshness, UNKNOWN } from "./freshness.js";
import type { RecordState } from "./record.js";
import { States } from "./states.js";
import type { Reader } from "./topic.js";
import type { Peek, Watches } from "./watches.js";

/** What else a watch may be told. */
export interface WatchOptions<T = unknown> {
  /** What the program knows already, as from a page's rendering. It counts as known: no older state is handed on. */
  initial?: RecordState<T> | readonly RecordState<T>[];
  /** Gets the server's refusal to let `key` be watched, or the client's end; that key is watched no longer. */
  onError?: (error: FreshetError, key: string) => void;
  /** Called when a key has become fresh, or no longer is. */
  onFreshness?: (freshness: Freshness, key: string) => void;
  /** Called when the subscription to a key was confirmed: at first, and after each lost connection. */
  onLive?: (key: string) => void;
  /** Called when a confirmed subscription was lost with its connection. */
  onLost?: (key: string) => void;
}

/**
 * Keys of one collection that are watched together.
 *
 * `for await` goes through their states; one who is slow gets the newest of each key. It ends when the watch is closed, throws
 * when a key is refused, unless there is `onError`, and closes the watch on leaving, unless there is a listener.
 */
export class Watch<T = unknown> implements AsyncIterable<RecordState<T>> {
  readonly collection: string;
  readonly #watches: Watches;
  readonly #listener: ((state: RecordState<T>) => void) | undefined;
  readonly #options: WatchOptions<T>;
  readonly #readers = new Map<string, Reader>();
  readonly #iterated = new Set<States<T>>();
  #isClosed = false;
  #refusal: FreshetError | undefined;

  /** @internal Made by `Client.watch`. */
  constructor(
    watches: Watches,
    collection: string,
    keys: string | readonly string[],
    listener: ((state: RecordState<T>) => void) | undefined,
    options: WatchOptions<T>,
  ) {
    this.#watches = watches;
    this.collection = collection;
    this.#listener = listener;
    this.#options = options;
    const { initial } = options;
    // A state has its key in canonical text, in which the key asked for need not be.
    if (typeof keys === "string" && initial && "stamp" in initial) this.#open(keys, initial);
    else this.show([keys].flat());
  }

  /** The keys watched. */
  get keys(): string[] {
    return [...this.#readers.keys()];
  }

  /** Whether the server has confirmed the subscriptions to all keys on the present connection. */
  get isLive(): boolean {
    return this.keys.every((key) => this.#known(key).isLive);
  }

  /** Whether the server vouches for every key. While the connection is lost it is not so. */
  get isFresh(): boolean {
    return this.keys.every((key) => this.freshness(key).isFresh);
  }

  /**
   * For how long changes of any key may be missing, at the most, counting on; `undefined` while all are fresh, and before the
   * server has said anything of one that is not.
   */
  get ageMs(): number | undefined {
    const ages = this.keys.map((key) => this.freshness(key).ageMs).filter((age) => age !== undefined);
    return ages.length === 0 ? undefined : Math.max(...ages);
  }

  /** How far a watched key is proven. */
  freshness(key: string): Freshness {
    return this.#readers.has(key) ? this.#known(key).freshness : UNKNOWN;
  }

  /** The newest state known of a watched key. */
  state(key: string): RecordState<T> | undefined {
    return this.#readers.has(key) ? this.#known(key).state : undefined;
  }

  /** Watches exactly `keys` from now on. Those that stay go on undisturbed. */
  show(keys: readonly string[]): void {
    const wanted = new Set(keys);
    this.#isClosed = false;
    for (const key of wanted) if (!this.#readers.has(key)) this.#open(key);
    for (const key of this.keys) if (!wanted.has(key)) this.#close(key);
  }

  /** Ends the watch. Its listener is not called again. */
  close(): void {
    this.show([]);
    this.#isClosed = true;
    for (const states of this.#iterated) states.end();
    this.#iterated.clear();
  }

  /** `using watch`: closes it. */
  [dispose](): void {
    this.close();
  }

  /** The known states first, then every newer one. */
  [Symbol.asyncIterator](): States<T> {
    const states = new States<T>(() => {
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

  #open(key: string, initial = this.#initial(key)): void {
    const reader: Reader = {
      state: (state) => this.#handed(key, state as RecordState<T>),
      freshness: (freshness) => this.#options.onFreshness?.(freshness, key),
      live: () => this.#options.onLive?.(key),
      lost: () => this.#options.onLost?.(key),
      refused: (error) => this.#refused(key, error),
    };
    this.#readers.set(key, reader);
    this.#watches.add(this.collection, key, reader, initial);
  }

  #close(key: string): void {
    const reader = this.#readers.get(key);
    this.#readers.delete(key);
    if (reader) this.#watches.remove(this.collection, key, reader);
  }

  #handed(key: string, state: RecordState<T>): void {
    for (const states of this.#iterated) states.add(key, state);
    this.#listener?.(state);
  }

  #refused(key: string, error: FreshetError): void {
    this.#readers.delete(key);
    this.#refusal = error;
    const { onError } = this.#options;
    for (const states of this.#iterated) {
      if (onError && this.#readers.size > 0) continue;
      states.end(onError ? undefined : error);
      this.#iterated.delete(states);
    }
    onError?.(error, key);
  }

  #initial(key: string): RecordState<T> | undefined {
    return [this.#options.initial ?? []].flat().find((state) => state.key === key);
  }

  #known(key: string): Peek<T> {
    return this.#watches.peek(this.collection, key) as Peek<T>;
  }
}
