import { compareStamps, generationOf, type RecordState } from "./record.js";

/**
 * What is known of one key: the newest state that was accepted. It never goes back, except where the server says that
 * history was lost.
 */
export class Known {
  /** The last state accepted. */
  state: RecordState | undefined;
  // The highest stamp so far. A deletion that the store no longer remembers has none and leaves it as it was.
  #seen: string | undefined;
  // Whether a push came since the last `subscribe`: the first one is the snapshot.
  #isTold = false;

  /** `seen` is the highest stamp that was known of the key before, if any: nothing older is accepted. */
  constructor(seen?: string) {
    this.#seen = seen;
  }

  /** The highest stamp so far. */
  get seen(): string | undefined {
    return this.#seen;
  }

  /** Where to resume from, if anywhere: version 0 is no state. */
  get since(): string | undefined {
    return this.state === undefined || this.#seen?.endsWith(".0") ? undefined : this.#seen;
  }

  /** Subscribed anew: the next push is a snapshot. */
  resume(): void {
    this.#isTold = false;
  }

  /** Takes a pushed state if it is news; answers whether it was. */
  push(state: RecordState): boolean {
    const isSnapshot = !this.#isTold;
    this.#isTold = true;
    return this.#isNews(state, isSnapshot) && this.#take(state);
  }

  /** Takes the state that an answer brought, if it is news; answers whether it was. */
  answer(state: RecordState): boolean {
    return this.accepts(state) && this.#take(state);
  }

  /** Whether `state` would be news if an answer brought it. */
  accepts(state: RecordState): boolean {
    return this.#isNews(state, false);
  }

  // A stamp must rise. Two states need not: one of another generation that is marked `reset`; and, as a snapshot
  // only, an absence at version 0, the answer for a deletion older than the store remembers.
  #isNews(state: RecordState, isSnapshot: boolean): boolean {
    if (this.#seen === undefined) return true;
    const order = compareStamps(state.stamp, this.#seen);
    if (order > 0 || (order === 0 && this.state === undefined)) return true;
    const isReset = state.reset === true && generationOf(state.stamp) !== generationOf(this.#seen);
    const isForgotten = isSnapshot && state.version === 0 && state.value === null && this.state?.value !== null;
    return isReset || isForgotten;
  }

  #take(state: RecordState): true {
    if (state.version > 0 || this.#seen === undefined) this.#seen = state.stamp;
    this.state = state;
    return true;
  }
}
