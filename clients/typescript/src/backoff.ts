/** A source of numbers from 0 up to, not including, 1. */
export type Random = () => number;

/**
 * Waits between attempts, with full jitter: the nth is drawn between zero and `baseMs * 2^n`, at most `capMs`.
 *
 * Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "full jitter".
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #capMs: number;
  readonly #random: Random;
  #attempt = 0;

  constructor(baseMs: number, capMs: number, random: Random = Math.random) {
    this.#baseMs = baseMs;
    this.#capMs = capMs;
    this.#random = random;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const ceilingMs = Math.min(this.#capMs, this.#baseMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return this.#random() * ceilingMs;
  }

  /** Starts over after a success. */
  reset(): void {
    this.#attempt = 0;
  }
}
