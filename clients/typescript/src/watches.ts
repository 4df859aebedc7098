import type { FreshetError } from "./errors.js";
import { Freshness, UNKNOWN } from "./freshness.js";
import { object } from "./json.js";
import { Known } from "./known.js";
import { Lingering } from "./lingering.js";
import { type RecordState, stateOf, type WireRecord } from "./record.js";
import type { Requests } from "./requests.js";
import { type Reader, Topic } from "./topic.js";

// How long to leave a subscription alone that the server refused for now and gave no time for.
const RETRY_MS = 1_000;
// So many keys without a watch keep their subscriptions: they count on the server, which allows a connection 10,000.
const LINGERING_MAX = 1_000;
// Of so many keys that are watched no longer the highest stamp is remembered.
const SEEN_MAX = 10_000;

/** What is known of a key. */
export interface Peek<T = unknown> {
  /** The newest state, if any. */
  readonly state: RecordState<T> | undefined;
  readonly freshness: Freshness;
  /** Whether the server has confirmed a subscription to it on the present connection. */
  readonly isLive: boolean;
}

/**
 * All that is watched, subscribed once a key, and again on every new socket from where it was. A subscription outlives its last
 * reader by some seconds: who comes back in that time finds everything as it was, and nothing is sent.
 */
export class Watches {
  readonly #requests: Requests;
  readonly #isOpen: () => boolean;
  readonly #topics = new Map<string, Topic>();
  readonly #byId = new Map<string, Topic>();
  readonly #lingering: Lingering<Topic>;
  // A page that comes back to a key must not be handed an older state, by another node or from an old rendering.
  readonly #seen = new Map<string, string>();
  // When subscriptions without readers were ended for the sake of others.
  #madeRoomAt = -Infinity;
  #ended: FreshetError | null = null;

  constructor(requests: Requests, lingerMs: number, isOpen: () => boolean) {
    this.#requests = requests;
    this.#lingering = new Lingering(lingerMs, LINGERING_MAX, (topic) => this.#release(topic));
    this.#isOpen = isOpen;
  }

  /**
   * Adds a reader of a key, who may know a state of it already. What is known is handed to it at once, but not before this
   * returns.
   */
  add(collection: string, key: string, reader: Reader, initial?: RecordState): void {
    const topic = this.#topics.get(nameOf(collection, key)) ?? this.#open(collection, key);
    this.#lingering.remove(topic);
    if (initial && topic.known.answer(initial)) topic.hand(initial);
    topic.readers.set(reader, undefined);
    this.#subscribe(topic);
    queueMicrotask(() => {
      if (this.#ended) return this.#refuse(topic, this.#ended);
      const { state } = topic.known;
      if (state) topic.tellOne(reader, () => topic.handTo(reader, state));
      if (topic.freshness !== UNKNOWN) topic.tellOne(reader, () => reader.freshness(topic.freshness));
      if (topic.id !== null) topic.tellOne(reader, () => reader.live());
    });
  }

  /** Takes a reader away; some time after the last of a key its subscription ends, unless another comes. */
  remove(collection: string, key: string, reader: Reader): void {
    const topic = this.#topics.get(nameOf(collection, key));
    if (topic?.readers.delete(reader) && topic.readers.size === 0) this.#lingering.add(topic);
  }

  /** What is known of a key, or would be to a reader that comes with `initial`. */
  peek(collection: string, key: string, initial?: RecordState): Peek {
    const name = nameOf(collection, key);
    const topic = this.#topics.get(name);
    const known = topic?.known ?? new Known(this.#seen.get(name));
    const state = initial && known.accepts(initial) ? initial : known.state;
    return { state, freshness: topic?.freshness ?? UNKNOWN, isLive: topic !== undefined && topic.id !== null };
  }

  /** Takes in what an answer brought of a key, if it is watched; answers the newest state of it. */
  answered(collection: string, asked: string, state: RecordState): RecordState {
    const topic = this.#topics.get(nameOf(collection, asked));
    if (!topic) return state;
    if (topic.known.answer(state)) topic.hand(state);
    return topic.known.state ?? state;
  }

  pushed(id: string, record: WireRecord): void {
    const topic = this.#byId.get(id);
    const state = stateOf(record);
    if (topic?.known.push(state)) topic.hand(state);
    // The snapshot says how the key stands; what comes later does not.
    if (topic && !topic.isJudged) topic.judge(freshnessOf(state.staleMs === undefined, state.staleMs ?? 0));
  }

  /** The server says how subscriptions stand; each has one key. */
  told({ isFresh, ageMs, subscriptions }: { isFresh: boolean; ageMs: number; subscriptions: readonly string[] }): void {
    const freshness = freshnessOf(isFresh, ageMs);
    for (const id of subscriptions) this.#byId.get(id)?.judge(freshness);
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
      const wasLive = topic.id !== null;
      topic.id = null;
      topic.judge(topic.freshness.lost(heardAt));
      topic.isJudged = false;
      if (wasLive) topic.tell((reader) => reader.lost());
    }
  }

  /** No socket will come again. */
  end(error: FreshetError): void {
    this.#ended = error;
    for (const topic of [...this.#topics.values()]) this.#refuse(topic, error);
  }

  #open(collection: string, key: string): Topic {
    const name = nameOf(collection, key);
    const topic = new Topic(collection, key, this.#seen.get(name));
    this.#topics.set(name, topic);
    return topic;
  }

  #subscribe(topic: Topic): void {
    if (topic.isAsking || topic.id !== null || topic.readers.size === 0 || !this.#isOpen()) return;
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
    topic.tell((reader) => reader.live());
  }

  #failed(topic: Topic, error: FreshetError): void {
    topic.isAsking = false;
    // Without a socket: the next one subscribes again.
    if (error.reason === "closed" || !this.#isCurrent(topic)) return;
    const mayRetry = error.isRetryable || (error.reason === "subscriptions" && this.#makesRoom());
    if (!mayRetry) return this.#refuse(topic, error);
    const waitMs = error.retryAfterMs ?? RETRY_MS;
    topic.retry = setTimeout(() => this.#subscribe(topic), waitMs * (1 + Math.random()));
  }

  // The server allows no more subscriptions. End those without readers before giving this one up.
  #makesRoom(): boolean {
    if (this.#lingering.clear()) this.#madeRoomAt = Date.now();
    return Date.now() - this.#madeRoomAt < RETRY_MS;
  }

  #refuse(topic: Topic, error: FreshetError): void {
    this.#forget(topic);
    topic.tell((reader) => reader.refused(error));
  }

  #release(topic: Topic): void {
    this.#forget(topic);
    if (topic.id !== null) this.#unsubscribe(topic.id);
  }

  #forget(topic: Topic): void {
    clearTimeout(topic.retry);
    this.#lingering.remove(topic);
    if (topic.id !== null) this.#byId.delete(topic.id);
    if (!this.#isCurrent(topic)) return;
    const name = nameOf(topic.collection, topic.key);
    this.#topics.delete(name);
    this.#remember(name, topic.known.seen);
  }

  #remember(name: string, stamp: string | undefined): void {
    this.#seen.delete(name);
    if (stamp !== undefined) this.#seen.set(name, stamp);
    if (this.#seen.size > SEEN_MAX) this.#seen.delete(this.#seen.keys().next().value as string);
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
