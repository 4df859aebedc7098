import type { FreshetError } from "./errors.js";
import { Freshness, UNKNOWN } from "./freshness.js";
import { object } from "./json.js";
import { Known } from "./known.js";
import { type RecordState, stateOf, type WireRecord } from "./record.js";
import type { Requests } from "./requests.js";

// How long to leave a subscription alone that the server refused for now and gave no time for.
const RETRY_MS = 1_000;

/** One reader of one key. */
export interface Reader {
  state(state: RecordState): void;
  freshness(freshness: Freshness): void;
  refused(error: FreshetError): void;
  live(): void;
}

/** A key with its readers: one subscription on the wire, however many they are. */
interface Topic {
  readonly collection: string;
  readonly key: string;
  readonly known: Known;
  freshness: Freshness;
  /** Whether the server has said on this socket how the key stands. */
  isJudged: boolean;
  /** With the state that each was handed last. */
  readonly readers: Map<Reader, RecordState | undefined>;
  /** The server's id, once it has confirmed the subscription on this socket. */
  id: string | null;
  isAsking: boolean;
  retry: ReturnType<typeof setTimeout> | undefined;
}

/** All that is watched, subscribed once a key, and again on every new socket from where it was. */
export class Watches {
  readonly #requests: Requests;
  readonly #isOpen: () => boolean;
  readonly #topics = new Map<string, Topic>();
  readonly #byId = new Map<string, Topic>();
  #ended: FreshetError | null = null;

  constructor(requests: Requests, isOpen: () => boolean) {
    this.#requests = requests;
    this.#isOpen = isOpen;
  }

  /** Adds a reader of a key. What is known is handed to it at once, but not before this returns. */
  add(collection: string, key: string, reader: Reader): void {
    const topic = this.#topics.get(nameOf(collection, key)) ?? this.#open(collection, key);
    topic.readers.set(reader, undefined);
    this.#subscribe(topic);
    queueMicrotask(() => {
      if (this.#ended) return this.#refuse(topic, this.#ended);
      if (topic.known.state) this.#handTo(reader, topic, topic.known.state);
      if (topic.freshness !== UNKNOWN && topic.readers.has(reader)) safely(() => reader.freshness(topic.freshness));
      if (topic.id !== null && topic.readers.has(reader)) safely(() => reader.live());
    });
  }

  /** Takes a reader away; with the last of a key its subscription ends, unless another comes in the same turn. */
  remove(collection: string, key: string, reader: Reader): void {
    const topic = this.#topics.get(nameOf(collection, key));
    if (topic?.readers.delete(reader) && topic.readers.size === 0) queueMicrotask(() => this.#release(topic));
  }

  isLive(collection: string, key: string): boolean {
    return this.#topics.get(nameOf(collection, key))?.id != null;
  }

  /** How far a watched key is proven. */
  freshness(collection: string, key: string): Freshness {
    return this.#topics.get(nameOf(collection, key))?.freshness ?? UNKNOWN;
  }

  /** The newest state known of a watched key. */
  state(collection: string, key: string): RecordState | undefined {
    return this.#topics.get(nameOf(collection, key))?.known.state;
  }

  /** Takes in what an answer brought of a key, if it is watched; answers the newest state of it. */
  answered(collection: string, asked: string, state: RecordState): RecordState {
    const topic = this.#topics.get(nameOf(collection, asked));
    if (!topic) return state;
    if (topic.known.answer(state)) this.#hand(topic, state);
    return topic.known.state ?? state;
  }

  pushed(id: string, record: WireRecord): void {
    const topic = this.#byId.get(id);
    const state = stateOf(record);
    if (topic?.known.push(state)) this.#hand(topic, state);
    // The snapshot says how the key stands; what comes later does not.
    if (topic && !topic.isJudged) this.#judge(topic, freshnessOf(state.staleMs === undefined, state.staleMs ?? 0));
  }

  /** The server says how subscriptions stand; each has one key. */
  told({ isFresh, ageMs, subscriptions }: { isFresh: boolean; ageMs: number; subscriptions: readonly string[] }): void {
    const freshness = freshnessOf(isFresh, ageMs);
    for (const id of subscriptions) {
      const topic = this.#byId.get(id);
      if (topic) this.#judge(topic, freshness);
    }
  }

  /** A new socket is open. */
  resume(): void {
    for (const topic of this.#topics.values()) this.#subscribe(topic);
  }

  /** The socket, on which the server was last heard at `heardAt`, is gone, and the server's subscriptions with it. */
  lost(heardAt: number): void {
    this.#byId.clear();
    for (const topic of this.#topics.values()) {
      clearTimeout(topic.retry);
      topic.id = null;
      this.#judge(topic, topic.freshness.lost(heardAt));
      topic.isJudged = false;
    }
  }

  /** No socket will come again. */
  end(error: FreshetError): void {
    this.#ended = error;
    for (const topic of [...this.#topics.values()]) this.#refuse(topic, error);
  }

  #open(collection: string, key: string): Topic {
    const topic: Topic = {
      collection,
      key,
      known: new Known(),
      freshness: UNKNOWN,
      isJudged: false,
      readers: new Map(),
      id: null,
      isAsking: false,
      retry: undefined,
    };
    this.#topics.set(nameOf(collection, key), topic);
    return topic;
  }

  #subscribe(topic: Topic): void {
    if (topic.isAsking || topic.id !== null || !this.#isOpen()) return;
    topic.isAsking = true;
    topic.known.resume();
    const { collection, key } = topic;
    const { since } = topic.known;
    const params = object({
      collection: JSON.stringify(collection),
      key: JSON.stringify(key),
      since: since && JSON.stringify({ [key]: since }),
    });
    this.#requests.ask({
      kind: "bound",
      method: "subscribe",
      params,
      done: (id) => this.#confirmed(topic, id as string),
      failed: (error) => this.#failed(topic, error),
    });
  }

  #confirmed(topic: Topic, id: string): void {
    topic.isAsking = false;
    if (!this.#isCurrent(topic)) return this.#unsubscribe(id);
    topic.id = id;
    this.#byId.set(id, topic);
    for (const reader of [...topic.readers.keys()]) safely(() => reader.live());
  }

  #failed(topic: Topic, error: FreshetError): void {
    topic.isAsking = false;
    // Without a socket: the next one subscribes again.
    if (error.reason === "closed" || !this.#isCurrent(topic)) return;
    if (!error.isRetryable) return this.#refuse(topic, error);
    const waitMs = error.retryAfterMs ?? RETRY_MS;
    topic.retry = setTimeout(() => this.#subscribe(topic), waitMs * (1 + Math.random()));
  }

  #refuse(topic: Topic, error: FreshetError): void {
    this.#forget(topic);
    for (const reader of [...topic.readers.keys()]) safely(() => reader.refused(error));
  }

  #release(topic: Topic): void {
    if (topic.readers.size > 0 || !this.#isCurrent(topic)) return;
    this.#forget(topic);
    if (topic.id !== null) this.#unsubscribe(topic.id);
  }

  #forget(topic: Topic): void {
    clearTimeout(topic.retry);
    this.#topics.delete(nameOf(topic.collection, topic.key));
    if (topic.id !== null) this.#byId.delete(topic.id);
  }

  // Nobody waits for the answer: the subscription ends with the socket at the latest.
  #unsubscribe(id: string): void {
    const nothing = (): void => {};
    this.#requests.ask({
      kind: "bound",
      method: "unsubscribe",
      params: JSON.stringify([id]),
      done: nothing,
      failed: nothing,
    });
  }

  #judge(topic: Topic, freshness: Freshness): void {
    const before = topic.freshness;
    topic.freshness = freshness;
    topic.isJudged = true;
    const isNews = before.isFresh !== freshness.isFresh || (before.provenAt === undefined) !== (freshness.provenAt === undefined);
    if (!isNews) return;
    for (const reader of [...topic.readers.keys()]) {
      if (topic.readers.has(reader)) safely(() => reader.freshness(freshness));
    }
  }

  #hand(topic: Topic, state: RecordState): void {
    for (const reader of [...topic.readers.keys()]) this.#handTo(reader, topic, state);
  }

  // A listener may close its neighbour, or have been handed the state already.
  #handTo(reader: Reader, topic: Topic, state: RecordState): void {
    if (!topic.readers.has(reader) || topic.readers.get(reader) === state) return;
    topic.readers.set(reader, state);
    safely(() => reader.state(state));
  }

  #isCurrent(topic: Topic): boolean {
    return this.#topics.get(nameOf(topic.collection, topic.key)) === topic;
  }
}

function freshnessOf(isFresh: boolean, ageMs: number): Freshness {
  return new Freshness(isFresh, Date.now() - ageMs);
}

// A key holds no NUL.
function nameOf(collection: string, key: string): string {
  return `${collection}\0${key}`;
}

// What a listener throws is its page's to see, and nobody else's to suffer from.
function safely(act: () => void): void {
  try {
    act();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
