// What a request may be told, and how that is written as JSON-RPC's params.

/** What every request may be told. */
export interface RequestOptions {
  /** From call to answer, reconnects included; the client's `requestTimeoutMs` unless given. */
  timeoutMs?: number;
  /** Gives the request up: it rejects with the signal's reason. A write that was sent by then may still happen. */
  signal?: AbortSignal;
}

/** How fresh an answer must be. */
export interface ReadOptions extends RequestOptions {
  /** Not older than this stamp. */
  minStamp?: string;
  /** When nothing fresh can answer: how long past its freshness it may be. The server's own bound unless given. */
  maxStaleMs?: number;
}

/** Under which condition a write is done, and how. */
export interface WriteOptions extends RequestOptions {
  /** Only if the record is at this stamp; `"0"`: only if it does not exist. */
  ifStamp?: string;
  /** Names the write, 1 to 255 bytes, so that it is repeated after a lost connection and still done once. */
  idempotencyKey?: string;
}

/** How a record is to change; at least one of the two. */
export interface Change<T = unknown> {
  /** Members to set, merged as RFC 7396 says. */
  merge?: Merge<T>;
  /** What to add to numeric columns, exactly: `{ stock: -1 }`. */
  increment?: Increment<T>;
}

/** Some members of `T`: those of a JSON column by themselves, anything else as a whole. */
export type Merge<T> = unknown extends T ? Readonly<Record<string, unknown>> : Members<T>;

type Members<T> = { readonly [K in keyof T]?: Member<T[K]> };
type Member<V> = V extends readonly unknown[] ? V : V extends object ? Members<V> | null : V;

/** Amounts for the numeric columns of `T`. */
export type Increment<T> = unknown extends T
  ? Readonly<Record<string, unknown>>
  : { readonly [K in keyof T as NonNullable<T[K]> extends number ? K : never]?: number };

/** JSON text by name; what is `undefined` is left out. */
export type Params = Record<string, string | undefined>;

export function place(collection: string, key: string): Params {
  return { collection: JSON.stringify(collection), key: JSON.stringify(key) };
}

export function places(collection: string, keys: string | readonly string[]): Params {
  return { collection: JSON.stringify(collection), keys: JSON.stringify([keys].flat()) };
}

export function reading({ minStamp, maxStaleMs }: ReadOptions): Params {
  return { min_stamp: minStamp && JSON.stringify(minStamp), max_stale_ms: maxStaleMs?.toString() };
}

export function writing({ ifStamp, idempotencyKey }: WriteOptions): Params {
  return {
    if_stamp: ifStamp && JSON.stringify(ifStamp),
    idempotency_key: idempotencyKey && JSON.stringify(idempotencyKey),
  };
}
