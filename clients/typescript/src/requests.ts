import { closed, deadline, type FreshetError, outcomeUnknown, refusal, tooLarge, type WireError } from "./errors.js";

/** What may be done with a request whose socket was lost. */
export type Kind =
  /** Sent again. */
  | "read"
  /** Sent again: the server does a write of one idempotency key once. */
  | "keyed"
  /** Not sent again: it may have happened. */
  | "once"
  /** Dropped: the subscriptions' own, which end with the socket. */
  | "bound";

/** A request, and who waits for it. */
export interface Request {
  readonly kind: Kind;
  readonly method: string;
  /** JSON text. */
  readonly params: string;
  /** From now to the answer; no limit unless given. */
  readonly timeoutMs?: number;
  // Called back, rather than promised: a push must find what the answer before it brought.
  readonly done: (result: unknown) => void;
  readonly failed: (error: FreshetError) => void;
}

/** Where requests leave. */
export interface Line {
  takes(isRepeatable: boolean): boolean;
  send(text: string): void;
  idle(): void;
}

interface Call extends Request {
  /** On the present socket. */
  isSent: boolean;
  /** On any: its write may have happened. */
  wasSent: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

// The message that closed a socket as too large must not close the next one.
const MESSAGE_TOO_LARGE = 1009;
// So many subscriptions at the most are begun and ended in one message: well below what a server takes, in number and in bytes.
const BATCH_MAX = 100;

/** Requests from call to answer, in the order made. What begins and ends subscriptions travels together, turn by turn. */
export class Requests {
  readonly #line: Line;
  readonly #calls = new Map<number, Call>();
  #lastId = 0;
  // Texts that leave at the end of this turn, or before the next other request.
  #gathered: string[] = [];
  #batchMax = BATCH_MAX;

  constructor(line: Line) {
    this.#line = line;
  }

  /** Makes a request, which leaves as soon as the line takes it. Answers a way to give it up. */
  ask(request: Request): (why: FreshetError) => void {
    const id = (this.#lastId += 1);
    const call: Call = { ...request, isSent: false, wasSent: false, timer: undefined };
    const { timeoutMs } = request;
    if (timeoutMs !== undefined) call.timer = setTimeout(() => this.#fail(id, deadline(timeoutMs)), timeoutMs);
    this.#calls.set(id, call);
    this.#send(id, call);
    return (why) => this.#fail(id, why);
  }

  /** The line takes requests again. */
  resume(): void {
    this.#flush();
    for (const [id, call] of this.#calls) this.#send(id, call);
  }

  /** The server takes no such batches: from now on each request travels alone. */
  separate(): void {
    this.#batchMax = 1;
  }

  /** Whether an answer is awaited on the present socket. */
  isBusy(): boolean {
    return [...this.#calls.values()].some(({ isSent }) => isSent);
  }

  answered(id: number, result: unknown, error: WireError | undefined): void {
    const call = this.#take(id);
    if (error) call?.failed(refusal(error));
    else call?.done(result);
    if (call && !this.isBusy()) this.#line.idle();
  }

  /** The socket is gone, closed with `code` if it was closed. What may not be repeated ends here. */
  lost(code: number | undefined): void {
    this.#gathered = [];
    for (const [id, call] of [...this.#calls]) {
      const wasUnderWay = call.isSent;
      call.isSent = false;
      if (call.kind === "bound") this.#fail(id, closed("the connection was lost"));
      else if (!wasUnderWay) continue;
      else if (call.kind === "once") this.#fail(id, outcomeUnknown("the connection was lost before its answer came"));
      else if (code === MESSAGE_TOO_LARGE) this.#fail(id, tooLarge());
    }
  }

  /** No socket will come again. */
  end(error: FreshetError): void {
    for (const id of [...this.#calls.keys()]) this.#fail(id, error);
  }

  #send(id: number, call: Call): void {
    if (call.isSent || !this.#line.takes(call.kind !== "once")) return;
    call.isSent = call.wasSent = true;
    const text = `{"jsonrpc":"2.0","id":${id},"method":"${call.method}","params":${call.params}}`;
    if (call.kind === "bound") return this.#gather(text);
    this.#flush();
    this.#line.send(text);
  }

  #gather(text: string): void {
    if (this.#gathered.push(text) === 1) queueMicrotask(() => this.#flush());
    if (this.#gathered.length >= this.#batchMax) this.#flush();
  }

  #flush(): void {
    const texts = this.#gathered;
    this.#gathered = [];
    if (texts.length > 0) this.#line.send(texts.length === 1 ? (texts[0] as string) : `[${texts.join(",")}]`);
  }

  // Whatever ends a write that had left, it may have happened.
  #fail(id: number, error: FreshetError): void {
    const call = this.#take(id);
    const isWrite = call?.kind === "keyed" || call?.kind === "once";
    call?.failed(isWrite && call.wasSent && error.reason !== "outcome_unknown" ? outcomeUnknown(error.message) : error);
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    return call;
  }
}
