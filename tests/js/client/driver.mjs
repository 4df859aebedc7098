// A client under test, driven from outside. What it is written in does not matter: an adapter takes commands and tells
// of answers and events, all of them plain JSON.
//
//   -> {"id":1,"do":"open","client":"c1","url":"ws://...","options":{"backoffBaseMs":20}}
//   -> {"id":2,"do":"get","client":"c1","collection":"products","key":"A"}
//   <- {"id":2,"ok":{"key":"A","version":1,"stamp":"1.1","value":{...}}}
//   <- {"id":3,"error":{"code":-32012,"reason":"outcome_unknown","data":{}}}
//   <- {"event":"record","watch":"w1","record":{...}}
//   <- {"event":"freshness","watch":"w1","key":"A","isFresh":false,"ageMs":3120}
//   <- {"event":"refused","watch":"w1","error":{...}}
//   <- {"event":"state","client":"c1","state":{"status":"waiting","retryInMs":17}}

import { until } from "../until.mjs";

let count = 0;
const name = (kind) => `${kind}${(count += 1)}`;

/** The other side of one adapter: `send` takes commands, `heard` gets what it says. */
export class Driver {
  #send;
  #waiting = new Map();
  #listeners = new Set();

  constructor(send) {
    this.#send = send;
  }

  heard(message) {
    if (message.event) return this.#listeners.forEach((listener) => listener(message));
    const { resolve, reject } = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.error) reject(Object.assign(new Error(message.error.reason), message.error));
    else resolve(message.ok);
  }

  /** Opens a client under test. */
  async open(url, options = {}) {
    const client = new Client(this, name("c"));
    await client.do("open", { url, options });
    return client;
  }

  /** The adapter is gone: nothing that is asked will be answered. */
  ended() {
    for (const { reject } of this.#waiting.values()) reject(new Error("the client under test has ended"));
    this.#waiting.clear();
  }

  command(command) {
    const id = (count += 1);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ id, ...command });
    });
  }

  listen(listener) {
    this.#listeners.add(listener);
  }
}

/** A client under test. */
class Client {
  /** Every state of the connection so far. */
  states = [];
  #driver;
  #name;

  constructor(driver, name) {
    this.#driver = driver;
    this.#name = name;
    driver.listen(({ event, client, state }) => event === "state" && client === name && this.states.push(state));
  }

  /** Calls an operation; answers or rejects as the client does. */
  do(operation, params = {}) {
    const answer = this.#driver.command({ do: operation, client: this.#name, ...params });
    answer.catch(() => {}); // A scenario may look at a rejection later than it happens.
    return answer;
  }

  get = (key, options) => this.do("get", { collection: "products", key, ...options });
  getMany = (keys) => this.do("getMany", { collection: "products", keys });
  freshness = (keys) => this.do("freshness", { collection: "products", keys });
  put = (key, value, options) => this.do("put", { collection: "products", key, value, ...options });
  patch = (key, change, options) => this.do("patch", { collection: "products", key, ...change, ...options });
  delete = (key, options) => this.do("delete", { collection: "products", key, ...options });
  close = () => this.do("close");

  /** Watches keys; answers once the watch is asked for. */
  async watch(keys, collection = "products") {
    const watch = new Watch(this, this.#driver, name("w"));
    await this.do("watch", { watch: watch.name, collection, keys });
    return watch;
  }

  /** Until the connection's present state, or a later one however short, has this status, or `wanted` holds for it. */
  async until(wanted) {
    const holds = typeof wanted === "string" ? ({ status }) => status === wanted : wanted;
    const present = Math.max(0, this.states.length - 1);
    return until(`the connection is ${wanted}`, () => this.states.slice(present).find(holds));
  }
}

/** Keys that a client under test watches. */
class Watch {
  /** Every state handed over so far. */
  records = [];
  /** Every change of a key's freshness so far. */
  changes = [];
  refusals = [];

  constructor(client, driver, name) {
    this.client = client;
    this.name = name;
    driver.listen(({ event, watch, record, error, ...change }) => {
      if (watch !== name) return;
      if (event === "record") this.records.push(record);
      else if (event === "freshness") this.changes.push(change);
      else this.refusals.push(error);
    });
  }

  stamps(key) {
    return this.records.filter((record) => record.key === key).map(({ stamp }) => stamp);
  }

  /** Until a state of `key` that `holds` was handed over. */
  async until(key, holds = () => true) {
    const found = () => this.records.find((record) => record.key === key && holds(record));
    return until(`a state of ${key} that ${holds}`, found);
  }

  /** Until `key` is fresh, or no longer; answers the change. */
  async becomes(key, isFresh) {
    const last = () => this.changes.findLast((change) => change.key === key);
    return until(`${key} is ${isFresh ? "fresh" : "stale"}`, () => last()?.isFresh === isFresh && last());
  }

  close() {
    return this.client.do("unwatch", { watch: this.name });
  }
}
