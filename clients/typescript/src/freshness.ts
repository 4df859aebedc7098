/**
 * How far what is known of a watched key is proven. A connection that is lost proves nothing: from then on the key is not
 * fresh, until the server has said on the next one how it stands.
 */
export class Freshness {
  /** Whether the server vouches for it: no change is missing but those of the last seconds. */
  readonly isFresh: boolean;
  /** Until when it is proven, as `Date.now()`; `undefined` while it is fresh, and while the server has said nothing of it. */
  readonly provenAt: number | undefined;

  constructor(isFresh: boolean, provenAt?: number) {
    this.isFresh = isFresh;
    this.provenAt = isFresh ? undefined : provenAt;
  }

  /** For how long changes may be missing, counting on; `undefined` as `provenAt`. */
  get ageMs(): number | undefined {
    return this.provenAt === undefined ? undefined : Math.max(0, Date.now() - this.provenAt);
  }

  /** What is left of it when the connection is lost, on which the server was last heard at `heardAt`. */
  lost(heardAt: number): Freshness {
    return this.isFresh ? new Freshness(false, heardAt) : this;
  }
}

/** The server has said nothing yet. */
export const UNKNOWN = new Freshness(false);

/** How far records are proven on the server. */
export interface Proven {
  /** Whether every one of them is fresh. */
  readonly isFresh: boolean;
  /** Of the one that is proven the least far: for how long changes may be missing. */
  readonly ageMs: number;
  /** Those that are not fresh, where others are. */
  readonly keys: readonly string[];
}
