import type { Client } from "../client.js";
import { type Apply, EarlyWrites, type Shown } from "../early.js";
import type { RecordState } from "../record.js";

/** A key with writes that are shown early. */
interface Entry {
  readonly writes: EarlyWrites;
  /** Ends the watch that waits for the writes' commits. */
  readonly close: () => void;
  /** The key is watched no longer: the commits of its writes will not be seen. */
  isDeaf: boolean;
}

const optimisms = new WeakMap<Client<any>, Optimism>();

/** The writes of a client's components that are shown before their commit is seen, by key, and who shows them. */
export class Optimism {
  readonly #client: Client<any>;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Map<string, Set<() => void>>();

  static of(client: Client<any>): Optimism {
    const optimism = optimisms.get(client) ?? new Optimism(client);
    optimisms.set(client, optimism);
    return optimism;
  }

  constructor(client: Client<any>) {
    this.#client = client;
  }

  /** Calls `changed` when what is to be shown of a key may have changed because of its writes. */
  listen(collection: string, key: string, changed: () => void): () => void {
    const name = nameOf(collection, key);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(changed));
    return () => {
      listeners.delete(changed);
      if (listeners.size === 0 && this.#listeners.get(name) === listeners) this.#listeners.delete(name);
    };
  }

  /** What to show where `state` is the newest that is known. */
  over(collection: string, key: string, state: RecordState): Shown | undefined {
    return this.#entries.get(nameOf(collection, key))?.writes.over(state);
  }

  /**
   * Shows a write until its commit is seen. Answers what to call with the commit's stamp, or without one if it came to nothing.
   * Where nothing is known of the record there is nothing to lay the write over, and it is not shown.
   */
  begin(collection: string, key: string, apply: Apply): (stamp?: string) => void {
    const { state } = this.#client.peek(collection, key);
    if (state === undefined) return () => {};
    const name = nameOf(collection, key);
    const entry = this.#entries.get(name) ?? this.#open(collection, key);
    const end = entry.writes.begin(state, apply);
    this.#tell(name);
    return (stamp) => {
      end(entry.isDeaf ? undefined : stamp);
      this.#settle(collection, key, entry);
    };
  }

  #open(collection: string, key: string): Entry {
    const settle = (): void => this.#settle(collection, key, entry);
    const deaf = (): void => {
      entry.isDeaf = true;
      entry.writes.forsake();
      settle();
    };
    // It holds the subscription although the components may leave, so that each commit is seen.
    const watch = this.#client.watch(collection, key, settle, { onError: deaf });
    const entry: Entry = { writes: new EarlyWrites(), close: () => watch.close(), isDeaf: false };
    this.#entries.set(nameOf(collection, key), entry);
    return entry;
  }

  #settle(collection: string, key: string, entry: Entry): void {
    const name = nameOf(collection, key);
    const { state } = this.#client.peek(collection, key);
    if (state) entry.writes.settle(state);
    if (entry.writes.isEmpty && this.#entries.get(name) === entry) {
      this.#entries.delete(name);
      entry.close();
    }
    this.#tell(name);
  }

  #tell(name: string): void {
    for (const changed of [...(this.#listeners.get(name) ?? [])]) changed();
  }
}

// A key holds no NUL.
function nameOf(collection: string, key: string): string {
  return `${collection}\0${key}`;
}
