import { asyncDispose } from "./dispose.js";
import type { RecordState } from "./record.js";

/**
 * States of several keys for one who takes them at leisure: of each key the newest that was not taken yet. A key that skipped a
 * state marked `reset` keeps the mark.
 */
export class States<T = unknown> implements AsyncIterableIterator<RecordState<T>> {
  readonly #waiting = new Map<string, RecordState<T>>();
  readonly #takers: { resolve(result: IteratorResult<RecordState<T>>): void; reject(error: unknown): void }[] = [];
  readonly #ended: () => void;
  // The last state that came of each key, taken or not.
  readonly #last = new Map<string, RecordState<T>>();
  #error: { readonly cause: unknown } | undefined;
  #isOver = false;

  /** @internal `ended` is called when the one who takes them has enough. */
  constructor(ended: () => void) {
    this.#ended = ended;
  }

  /** @internal */
  add(asked: string, state: RecordState<T>): void {
    if (this.#isOver || this.#last.get(asked) === state) return;
    this.#last.set(asked, state);
    const taker = this.#takers.shift();
    if (taker) return taker.resolve({ done: false, value: state });
    const isReset = state.reset === true || this.#waiting.get(asked)?.reset === true;
    this.#waiting.set(asked, isReset ? { ...state, reset: true } : state);
  }

  /** @internal Ends them, with `error` if there is one, behind the states that wait. */
  end(error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const [first, ...rest] = this.#takers.splice(0);
    if (error !== undefined && first) first.reject(error);
    else if (error !== undefined) this.#error = { cause: error };
    else first?.resolve({ done: true, value: undefined });
    for (const taker of rest) taker.resolve({ done: true, value: undefined });
  }

  next(): Promise<IteratorResult<RecordState<T>>> {
    for (const [key, value] of this.#waiting) {
      this.#waiting.delete(key);
      return Promise.resolve({ done: false, value });
    }
    const error = this.#error;
    this.#error = undefined;
    if (error) return Promise.reject(error.cause);
    if (this.#isOver) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  return(): Promise<IteratorResult<RecordState<T>>> {
    this.#waiting.clear();
    this.#error = undefined;
    this.end();
    this.#ended();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [asyncDispose](): Promise<void> {
    await this.return();
  }
}
