// What is released within this time of each other is released together, so that it travels in one message.
const TOGETHER_MS = 250;

/** Things that are kept for a while after their last use. When there are too many, the oldest go early. */
export class Lingering<T> {
  readonly #ms: number;
  readonly #max: number;
  readonly #release: (thing: T) => void;
  // In the order in which they are due.
  readonly #dueAt = new Map<T, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, max: number, release: (thing: T) => void) {
    this.#ms = ms;
    this.#max = max;
    this.#release = release;
  }

  add(thing: T): void {
    this.#dueAt.set(thing, Date.now() + this.#ms);
    if (this.#dueAt.size > this.#max) this.#end(this.#dueAt.keys().next().value as T);
    this.#timer ??= setTimeout(() => this.#sweep(), this.#ms);
  }

  /** It is in use again, or gone. */
  remove(thing: T): void {
    this.#dueAt.delete(thing);
    if (this.#dueAt.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Releases all at once; answers whether there were any. */
  clear(): boolean {
    const all = [...this.#dueAt.keys()];
    for (const thing of all) this.#end(thing);
    return all.length > 0;
  }

  #sweep(): void {
    this.#timer = undefined;
    const now = Date.now();
    for (const [thing, dueAt] of this.#dueAt) {
      if (dueAt > now + TOGETHER_MS) {
        this.#timer = setTimeout(() => this.#sweep(), dueAt - now);
        return;
      }
      this.#end(thing);
    }
  }

  #end(thing: T): void {
    this.remove(thing);
    this.#release(thing);
  }
}
