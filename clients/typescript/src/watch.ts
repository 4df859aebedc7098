import type { FreshetError } from "./errors.js";
import { type Freshness, UNKNOWN } from "./freshness.js";
import type { RecordState } from "./record.js";
import type { Reader, Watches } from "./watches.js";

/** What else a watch may be told. */
export interface WatchOptions {
  /** Gets the server's refusal to let `key` be watched, or the client's end; that key is watched no longer. */
  onError?: (error: FreshetError, key: string) => void;
  /** Called when a key has become fresh, or no longer is. */
  onFreshness?: (freshness: Freshness, key: string) => void;
  /** Called when the subscription to a key was confirmed: at first, and after each lost connection. */
  onLive?: (key: string) => void;
}

/** Keys of one collection that are watched together. */
export class Watch {
  readonly collection: string;
  readonly #watches: Watches;
  readonly #listener: (state: RecordState) => void;
  readonly #options: WatchOptions;
  readonly #readers = new Map<string, Reader>();

  /** @internal Made by `Client.watch`. */
  constructor(
    watches: Watches,
    collection: string,
    keys: string | readonly string[],
    listener: (state: RecordState) => void,
    options: WatchOptions,
  ) {
    this.#watches = watches;
    this.collection = collection;
    this.#listener = listener;
    this.#options = options;
    this.show(typeof keys === "string" ? [keys] : keys);
  }

  /** The keys watched. */
  get keys(): string[] {
    return [...this.#readers.keys()];
  }

  /** Whether the server has confirmed the subscriptions to all keys on the present connection. */
  get isLive(): boolean {
    return this.keys.every((key) => this.#watches.isLive(this.collection, key));
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
    return this.#readers.has(key) ? this.#watches.freshness(this.collection, key) : UNKNOWN;
  }

  /** The newest state known of a watched key. */
  state(key: string): RecordState | undefined {
    return this.#readers.has(key) ? this.#watches.state(this.collection, key) : undefined;
  }

  /** Watches exactly `keys` from now on. Those that stay go on undisturbed. */
  show(keys: readonly string[]): void {
    const wanted = new Set(keys);
    for (const key of wanted) if (!this.#readers.has(key)) this.#open(key);
    for (const key of this.keys) if (!wanted.has(key)) this.#close(key);
  }

  /** Ends the watch. Its listener is not called again. */
  close(): void {
    this.show([]);
  }

  #open(key: string): void {
    const reader: Reader = {
      state: (state) => this.#listener(state),
      freshness: (freshness) => this.#options.onFreshness?.(freshness, key),
      live: () => this.#options.onLive?.(key),
      refused: (error) => {
        this.#readers.delete(key);
        this.#options.onError?.(error, key);
      },
    };
    this.#readers.set(key, reader);
    this.#watches.add(this.collection, key, reader);
  }

  #close(key: string): void {
    const reader = this.#readers.get(key);
    this.#readers.delete(key);
    if (reader) this.#watches.remove(this.collection, key, reader);
  }
}
