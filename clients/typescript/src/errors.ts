/** Why a request came to nothing, as a stable word; a newer server may send others. */
export type Reason =
  | "parse_error"
  | "invalid_request"
  | "method_not_found"
  | "invalid_params"
  | "idempotency_key_reused"
  | "internal"
  | "unknown_collection"
  | "invalid_key"
  | "invalid_value"
  | "version_conflict"
  | "too_large"
  | "subscriptions"
  | "overloaded"
  | "unavailable"
  | "deadline"
  | "outcome_unknown"
  | "closed"
  | (string & {});

/** The code of an operation whose time ran out. */
export const DEADLINE = -32011;
/** The code of a write that may or may not have happened. */
export const OUTCOME_UNKNOWN = -32012;
const TOO_LARGE = -32007;

// Rate limited, overloaded, unavailable, out of time: the server did nothing.
const RETRYABLE = new Set([-32008, -32009, -32010, DEADLINE]);

/** A request that came to nothing, or a client that stopped. Compare `reason`. */
export class FreshetError extends Error {
  override readonly name = "FreshetError";
  /** The JSON-RPC code; 0 for `closed`, which no server says. */
  readonly code: number;
  readonly reason: Reason;
  /** What else the server said: `stamp` of a conflict, `column` of a value it refuses, and so on. */
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: number, reason: Reason, message: string, data: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.data = data;
  }

  /** How long to wait before trying again, where the server said so. */
  get retryAfterMs(): number | undefined {
    const ms = this.data["retry_after_ms"];
    return typeof ms === "number" ? ms : undefined;
  }

  /** Whether the same call may succeed later and did nothing now. */
  get isRetryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** An error object as it came over the wire. */
export interface WireError {
  code: number;
  message: string;
  data?: unknown;
}

export function refusal({ code, message, data }: WireError): FreshetError {
  // JSON-RPC lets `data` be anything; only an object says something to us.
  const known = typeof data === "object" && data !== null ? (data as Record<string, unknown>) : {};
  const reason = typeof known["reason"] === "string" ? known["reason"] : "";
  return new FreshetError(code, reason, message || `error ${code}`, known);
}

export function deadline(timeoutMs: number): FreshetError {
  return new FreshetError(DEADLINE, "deadline", `no answer within ${timeoutMs} ms`);
}

export function outcomeUnknown(why: string): FreshetError {
  return new FreshetError(OUTCOME_UNKNOWN, "outcome_unknown", `the write may or may not have happened: ${why}`);
}

export function tooLarge(): FreshetError {
  return new FreshetError(TOO_LARGE, "too_large", "the server closed the connection over a message that was too large");
}

export function closed(why: string): FreshetError {
  return new FreshetError(0, "closed", why);
}
