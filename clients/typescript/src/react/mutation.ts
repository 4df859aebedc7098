import { useMemo } from "react";

import { changed, replaced } from "../changed.js";
import type { Client } from "../client.js";
import type { Apply } from "../early.js";
import { idempotencyKey } from "../idempotency.js";
import type { Change, WriteOptions } from "../parameters.js";
import type { Written } from "../record.js";
import { Optimism } from "./optimism.js";
import { useFreshet } from "./provider.js";
import { type Store, useStore } from "./store.js";

/** How a write is done and shown. */
export interface MutationOptions<T> extends WriteOptions {
  /** What to show until the commit is seen: a function of the present value, or `false` for what is committed. A guess unless given. */
  optimistic?: ((value: T | null) => T | null) | false;
}

/** Writes of one record, and how they stand. */
export interface Mutation<T> {
  /**
   * As `client.patch`; every `useRecord` of the record shows the change at once. The caller may ignore the promise: `error` has
   * the reason of a rejection.
   */
  patch(change: Change<T>, options?: MutationOptions<T> & { returns?: boolean }): Promise<Written<T>>;
  /** As `client.put`. */
  put(value: Partial<T>, options?: MutationOptions<T>): Promise<Written<T>>;
  /** As `client.delete`. */
  delete(options?: MutationOptions<T>): Promise<Written<T>>;
  /** Whether a write of this hook waits for its answer. */
  readonly isPending: boolean;
  /** Why the last write of this hook came to nothing: a `FreshetError`, or the reason of an aborted signal. */
  readonly error: unknown;
}

/**
 * Writes a record. Each write has an idempotency key, so it survives a lost connection. What it will make of the record is shown
 * at once; the committed stamp confirms that, a refusal undoes it.
 */
export function useMutation<T = unknown>(collection: string, key: string | null): Mutation<T> {
  const client = useFreshet();
  return useStore(useMemo(() => new MutationStore<T>(client, collection, key), [client, collection, key]));
}

class MutationStore<T> implements Store<Mutation<T>> {
  readonly #client: Client<any>;
  readonly #collection: string;
  readonly #key: string | null;
  readonly #listeners = new Set<() => void>();
  #pending = 0;
  #begun = 0;
  #state: Mutation<T>;

  constructor(client: Client<any>, collection: string, key: string | null) {
    this.#client = client;
    this.#collection = collection;
    this.#key = key;
    this.#state = {
      patch: (change, options = {}) =>
        this.#write((value) => changed(value, change as Change), options, (key, given) =>
          client.patch<T>(collection, key, change as Change, given),
        ),
      put: (value, options = {}) =>
        this.#write((before) => replaced(before, value), options, (key, given) => client.put(collection, key, value, given)),
      delete: (options = {}) => this.#write(() => null, options, (key, given) => client.delete(collection, key, given)),
      isPending: false,
      error: undefined,
    };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  readonly snapshot = (): Mutation<T> => this.#state;

  readonly rendered = this.snapshot;

  #write(
    guess: Apply,
    { optimistic, ...options }: MutationOptions<T>,
    send: (key: string, options: WriteOptions) => Promise<Written>,
  ): Promise<Written<T>> {
    const written = this.#carryOut((optimistic as Apply | undefined) || guess, optimistic !== false, options, send);
    // `error` says it, so a caller need not.
    written.catch(() => {});
    return written;
  }

  async #carryOut(
    apply: Apply,
    isShown: boolean,
    options: WriteOptions,
    send: (key: string, options: WriteOptions) => Promise<Written>,
  ): Promise<Written<T>> {
    const key = this.#key;
    if (key === null) throw new TypeError("there is no key to write");
    const begun = (this.#begun += 1);
    this.#become(+1, undefined);
    const end = isShown ? Optimism.of(this.#client).begin(this.#collection, key, apply) : () => {};
    try {
      const written = await send(key, { idempotencyKey: idempotencyKey(), ...options });
      end(written.stamp);
      this.#become(-1, this.#state.error);
      return written as Written<T>;
    } catch (error) {
      end();
      this.#become(-1, begun === this.#begun ? error : this.#state.error);
      throw error;
    }
  }

  #become(pending: number, error: unknown): void {
    this.#pending += pending;
    this.#state = { ...this.#state, isPending: this.#pending > 0, error };
    for (const listener of [...this.#listeners]) listener();
  }
}
