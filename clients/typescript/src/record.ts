/** One state of a record. */
export interface RecordState<T = unknown> {
  /** The key in its canonical text. */
  readonly key: string;
  /** The version within the stamp's generation; 0 for an absence without a remembered deletion. */
  readonly version: number;
  /** What orders the key's states. Send it back as `ifStamp`, `minStamp` or `since`. */
  readonly stamp: string;
  /** The row; `null` when there is no such record. */
  readonly value: T | null;
  /** How long its freshness has been unproven, in milliseconds. Left out while it is proven. */
  readonly staleMs?: number;
  /** The store lost history: forget what you had of this key. */
  readonly reset?: boolean;
}

/** What a write came to. */
export interface Written<T = unknown> {
  readonly key: string;
  readonly version: number;
  readonly stamp: string;
  /** The record's new value, where a patch asked for it. */
  readonly value?: T | null;
}

/** A record, or what a write came to, as it came over the wire. */
export interface WireRecord {
  key: string;
  version: number;
  stamp: string;
  value?: unknown;
  stale_ms?: number;
  reset?: boolean;
}

export function stateOf<T>({ key, version, stamp, value = null, stale_ms, reset }: WireRecord): RecordState<T> {
  return {
    key,
    version,
    stamp,
    value: value as T | null,
    ...(stale_ms === undefined ? {} : { staleMs: stale_ms }),
    ...(reset ? { reset } : {}),
  };
}

/** Below zero when `a` is the older stamp of the two, above when it is the newer. Stamps of one key only compare. */
export function compareStamps(a: string, b: string): number {
  const [generationA, versionA] = parts(a);
  const [generationB, versionB] = parts(b);
  return generationA - generationB || versionA - versionB;
}

export function generationOf(stamp: string): number {
  return parts(stamp)[0];
}

// "generation.version"; versions stay below 2^53.
function parts(stamp: string): [number, number] {
  const dot = stamp.indexOf(".");
  return [Number(stamp.slice(0, dot)), Number(stamp.slice(dot + 1))];
}
