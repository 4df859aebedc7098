import { compareStamps, type RecordState } from "./record.js";

/** What a write makes of a row; `null` is no row. */
export type Apply = (value: unknown) => unknown;

/** A write that is shown before its commit is seen. */
interface Write {
  readonly apply: Apply;
  /** The newest state when the write began: that one and older ones lack it. */
  readonly before: RecordState;
  /** Its commit, once it was answered: this state and newer ones have it. */
  stamp: string | undefined;
}

/** What is to be shown of a record. */
export interface Shown {
  readonly state: RecordState;
  /** Whether the value has writes whose commit was not seen yet. */
  readonly isOptimistic: boolean;
}

/**
 * The writes of one key that are shown before their commit is seen.
 *
 * Whether a state has a write is decided by stamps alone. A state that came while the write was under way may have it or lack it,
 * and the answer tells. So until the answer, the state from before the write is shown with the write laid over it; then the newest
 * state, with the write over it only while its stamp is below the commit's. No write is shown twice, or vanishes and comes back.
 */
export class EarlyWrites {
  #writes: Write[] = [];
  #newest: RecordState | undefined;
  #shown: Shown | undefined;

  get isEmpty(): boolean {
    return this.#writes.length === 0;
  }

  /** A write begins. Answers what to call with its commit's stamp, or without one if it came to nothing. */
  begin(before: RecordState, apply: Apply): (stamp?: string) => void {
    const write: Write = { apply, before, stamp: undefined };
    this.#writes.push(write);
    this.#shown = undefined;
    return (stamp) => {
      this.#shown = undefined;
      if (stamp === undefined) this.#writes = this.#writes.filter((other) => other !== write);
      else write.stamp = stamp;
    };
  }

  /** No commit will be seen: forgets the writes that wait for theirs. */
  forsake(): void {
    this.#writes = this.#writes.filter(({ stamp }) => stamp === undefined);
    this.#shown = undefined;
  }

  /** `newest` is the newest state. Forgets the writes that every state has that is shown from now on. */
  settle(newest: RecordState): void {
    const base = this.#base(newest);
    this.#writes = this.#writes.filter((write) => !isIn(base, write));
    this.#shown = undefined;
  }

  /** What to show where `newest` is the newest state; the same object until something changes. */
  over(newest: RecordState): Shown {
    if (this.#newest === newest && this.#shown) return this.#shown;
    const base = this.#base(newest);
    const writes = this.#writes.filter((write) => !isIn(base, write));
    const value = writes.reduce((row, { apply }) => apply(row), base.value);
    const isOptimistic = writes.length > 0;
    this.#newest = newest;
    this.#shown = { state: isOptimistic ? { ...base, value } : base, isOptimistic };
    return this.#shown;
  }

  // Writes begin in the order of the newest states, so the first without an answer began at the oldest one.
  #base(newest: RecordState): RecordState {
    return this.#writes.find(({ stamp }) => stamp === undefined)?.before ?? newest;
  }
}

function isIn(state: RecordState, { stamp }: Write): boolean {
  return stamp !== undefined && compareStamps(stamp, state.stamp) <= 0;
}
