import type { Client } from "../client.js";
import type { FreshetError } from "../errors.js";
import { type Freshness, UNKNOWN } from "../freshness.js";
import type { RecordState } from "../record.js";
import { Optimism } from "./optimism.js";
import type { Store } from "./store.js";

/** What a component knows of a record. */
export interface UsedRecord<T = unknown> {
  /** The newest state; `undefined` until the first has come. Its `value` is `null` where there is no such record. */
  readonly record: RecordState<T> | undefined;
  /** Why the record is not watched, if it was refused. */
  readonly error: FreshetError | undefined;
  /** Whether the value has writes of `useMutation` whose commit was not seen yet. The stamp is that of the state below them. */
  readonly isOptimistic: boolean;
  /** Whether the record is watched on the present connection: newer states will come. */
  readonly isLive: boolean;
  /** Whether the server vouches for the record: no change is missing but those of the last seconds. */
  readonly isFresh: boolean;
  /** Whether the record may lack changes: its database fell silent, or the connection was lost. Not so while it is loading. */
  readonly isStale: boolean;
  /** More of it: `freshness.ageMs` counts on while the record is not fresh. */
  readonly freshness: Freshness;
}

/** Of a key that is `null`, and of one of which nothing is known. */
export const NOTHING: UsedRecord<any> = Object.freeze({
  record: undefined,
  error: undefined,
  isOptimistic: false,
  isLive: false,
  isFresh: false,
  isStale: false,
  freshness: UNKNOWN,
});

/** One record as one component shows it. What the client knows of it is there from the first snapshot on. */
export class RecordStore<T> implements Store<UsedRecord<T>> {
  readonly #client: Client<any>;
  readonly #collection: string;
  readonly #key: string;
  readonly #rendered: UsedRecord<T>;
  #used: UsedRecord<T> = NOTHING;
  #error: FreshetError | undefined;
  #isWatching = false;
  // What this component has shown last, or began with: it goes on from there after it was hidden, and after an error.
  #last: RecordState<T> | undefined;

  constructor(client: Client<any>, collection: string, key: string, initial: RecordState<T> | undefined) {
    this.#client = client;
    this.#collection = collection;
    this.#key = key;
    this.#last = initial;
    this.#rendered = initial ? { ...NOTHING, record: initial } : NOTHING;
  }

  readonly subscribe = (changed: () => void): (() => void) => {
    const failed = (error: FreshetError): void => {
      this.#error = error;
      changed();
    };
    const options = { onError: failed, onFreshness: changed, onLive: changed, onLost: changed };
    const initial = this.#last && { initial: this.#last };
    const watch = this.#client.watch<T>(this.#collection, this.#key, changed, { ...options, ...initial });
    const unlisten = Optimism.of(this.#client).listen(this.#collection, this.#key, changed);
    this.#isWatching = true;
    this.#error = undefined;
    return () => {
      this.#isWatching = false;
      watch.close();
      unlisten();
    };
  };

  readonly snapshot = (): UsedRecord<T> => {
    const { state: known, freshness, isLive } = this.#peek();
    const state = known ?? (this.#isWatching ? this.#last : undefined);
    this.#last = state;
    const shown = state && Optimism.of(this.#client).over(this.#collection, this.#key, state);
    const record = shown ? (shown.state as RecordState<T>) : state;
    const isStale = record !== undefined && !freshness.isFresh && freshness.provenAt !== undefined;
    const { isFresh } = freshness;
    this.#become({ record, error: this.#error, isOptimistic: shown?.isOptimistic ?? false, isLive, isFresh, isStale, freshness });
    return this.#used;
  };

  readonly rendered = (): UsedRecord<T> => this.#rendered;

  // While it watches, what it began with is known to the client, and may have been overtaken by a reset.
  #peek() {
    return this.#client.peek<T>(this.#collection, this.#key, this.#isWatching ? undefined : this.#last);
  }

  #become(next: UsedRecord<T>): void {
    const names = Object.keys(next) as (keyof UsedRecord<T>)[];
    if (names.some((name) => next[name] !== this.#used[name])) this.#used = next;
  }
}
