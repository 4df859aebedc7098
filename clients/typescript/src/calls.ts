import { closed, DEADLINE, FreshetError, OUTCOME_UNKNOWN } from "./errors.js";
import { object } from "./json.js";
import type { Params, RequestOptions, WriteOptions } from "./parameters.js";
import type { Written } from "./record.js";
import type { Kind, Requests } from "./requests.js";

/** What a caller asks for. */
export interface Ask {
  readonly kind: Kind;
  readonly method: string;
  readonly params: Params;
  readonly options: RequestOptions;
}

// How long a write of unknown outcome is left alone before it is repeated, unless the server says.
const REPEAT_MS = 500;

/** Requests as their callers see them: promises, with time limits and signals. */
export class Calls {
  readonly #requests: Requests;
  readonly #timeoutMs: number;
  /** Why no request can be answered any more, if so. */
  readonly #ended: () => FreshetError | undefined;
  readonly #writes = new Set<Promise<Written>>();

  constructor(requests: Requests, timeoutMs: number, ended: () => FreshetError | undefined) {
    this.#requests = requests;
    this.#timeoutMs = timeoutMs;
    this.#ended = ended;
  }

  ask({ kind, method, params, options }: Ask): Promise<unknown> {
    const { signal, timeoutMs = this.#timeoutMs } = options;
    const ended = this.#ended();
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (ended) return Promise.reject(ended);
    return new Promise((resolve, reject) => {
      const abort = (): void => giveUp(closed("the request was given up"));
      const done = (result: unknown): void => (signal?.removeEventListener("abort", abort), resolve(result));
      const failed = (error: FreshetError): void => {
        signal?.removeEventListener("abort", abort);
        reject(signal?.aborted ? signal.reason : error);
      };
      const giveUp = this.#requests.ask({ kind, method, params: object(params), timeoutMs, done, failed });
      signal?.addEventListener("abort", abort);
    });
  }

  /** A read that is repeated within its time, where the server is too busy for it and says when to come back. */
  askPatiently(ask: Ask): Promise<unknown> {
    const spread = (ms: number): number => ms * (1 + Math.random());
    return this.#repeat(ask, ({ isRetryable, retryAfterMs }) => (isRetryable && retryAfterMs !== undefined ? spread(retryAfterMs) : undefined));
  }

  write(method: string, params: Params, options: WriteOptions): Promise<Written> {
    const kind = options.idempotencyKey === undefined ? "once" : "keyed";
    const write = this.#repeat({ kind, method, params, options }, (error) => {
      // The server, not this client, could not tell what became of it. Under its key it may be repeated.
      const isUnknown = error.code === OUTCOME_UNKNOWN && "reason" in error.data;
      return kind === "keyed" && isUnknown ? (error.retryAfterMs ?? REPEAT_MS) : undefined;
    }) as Promise<Written>;
    const over = (): void => void this.#writes.delete(write);
    this.#writes.add(write);
    write.then(over, over);
    return write;
  }

  /** Resolves when the writes under way have come to an end, whichever. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#writes);
  }

  /** Asks again after each error for which `waitMsAfter` gives a wait, as long as the time of the first request lasts. */
  async #repeat(ask: Ask, waitMsAfter: (error: FreshetError) => number | undefined): Promise<unknown> {
    const { options } = ask;
    const until = Date.now() + (options.timeoutMs ?? this.#timeoutMs);
    let before: FreshetError | undefined;
    for (;;) {
      const timeoutMs = Math.max(1, until - Date.now());
      try {
        return await this.ask({ ...ask, options: { ...options, timeoutMs } });
      } catch (error) {
        if (!(error instanceof FreshetError)) throw error;
        const waitMs = waitMsAfter(error);
        const isOver = waitMs === undefined || this.#ended() !== undefined || Date.now() + waitMs >= until;
        // What the server said before says more than that its next answer did not come.
        if (isOver) throw error.code === DEADLINE ? (before ?? error) : error;
        before = error;
        await pause(waitMs, options.signal);
      }
    }
  }
}

/** Waits; rejects with the reason of `signal` if that is aborted meanwhile. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => (clearTimeout(timer), reject(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", abort), resolve()), ms);
    signal?.addEventListener("abort", abort);
  });
}
