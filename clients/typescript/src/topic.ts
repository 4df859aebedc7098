import { Freshness, UNKNOWN } from "./freshness.js";
import { Known } from "./known.js";
import type { FreshetError } from "./errors.js";
import type { RecordState } from "./record.js";

/** One reader of one key. */
export interface Reader {
  state(state: RecordState): void;
  freshness(freshness: Freshness): void;
  refused(error: FreshetError): void;
  live(): void;
  lost(): void;
}

/** A key with its readers: one subscription on the wire, however many they are. */
export class Topic {
  readonly known: Known;
  freshness = UNKNOWN;
  /** Whether the server has said on this socket how the key stands. */
  isJudged = false;
  /** With the state that each was handed last. */
  readonly readers = new Map<Reader, RecordState | undefined>();
  /** The server's id, once it has confirmed the subscription on this socket. */
  id: string | null = null;
  isAsking = false;
  retry: ReturnType<typeof setTimeout> | undefined;

  /** `seen` is the highest stamp that was known of the key before. */
  constructor(
    readonly collection: string,
    readonly key: string,
    seen: string | undefined,
  ) {
    this.known = new Known(seen);
  }

  /** Has the server's word on how the key stands. */
  judge(freshness: Freshness): void {
    const before = this.freshness;
    this.freshness = freshness;
    this.isJudged = true;
    const isNews = before.isFresh !== freshness.isFresh || (before.provenAt === undefined) !== (freshness.provenAt === undefined);
    if (isNews) this.tell((reader) => reader.freshness(freshness));
  }

  hand(state: RecordState): void {
    this.tell((reader) => this.handTo(reader, state));
  }

  // A listener may have been handed the state already.
  handTo(reader: Reader, state: RecordState): void {
    if (this.readers.get(reader) === state) return;
    this.readers.set(reader, state);
    reader.state(state);
  }

  /** Lets `act` call every reader. One may close its neighbour. */
  tell(act: (reader: Reader) => void): void {
    for (const reader of [...this.readers.keys()]) this.tellOne(reader, act);
  }

  tellOne(reader: Reader, act: (reader: Reader) => void): void {
    if (this.readers.has(reader)) safely(() => act(reader));
  }
}

// An error that a listener throws is reported to its page, and keeps no other listener from being called.
function safely(act: () => void): void {
  try {
    act();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
