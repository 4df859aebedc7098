// Server-Sent Events through `eventsource`, the EventSource of Node, unchanged: it comes back by itself, with the id of
// the last event it has, whatever happens to the server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { EventSource } from "eventsource";

import { Server } from "../server.mjs";
import { until } from "../until.mjs";

let server;
const readers = [];

before(async () => {
  server = await Server.start();
});
after(() => {
  // One that was left open would come back for ever, and the suite never end.
  for (const reader of readers) reader.close();
  return server.remove();
});

test("a stream begins with every key and shows each state in order", async () => {
  const [a, b] = await products("first", 2);
  const reader = new Reader([a, b, "absent"]);
  await reader.reaches(b, 0);
  await until("the snapshot of what is absent", () => reader.of("absent").length > 0);
  for (let stock = 1; stock <= 20; stock += 1) await add(stock % 2 ? a : b);
  await reader.reaches(a, 10);
  await reader.reaches(b, 10);
  await server.call("delete", { collection: "products", key: a });
  await until("a deletion", () => reader.of(a).at(-1).value === null);
  await put("absent", 7);
  await reader.reaches("absent", 7);
  assert.deepEqual(reader.stocks(b), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(reader.stocks(a), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, undefined]);
  assert.deepEqual(reader.stocks("absent"), [undefined, 7]);
});

for (const [outage, end] of [
  ["killed", () => server.kill()],
  ["drained", () => server.stop()],
]) {
  test(`nothing is lost and nothing repeated when the server is ${outage} and started again`, async () => {
    const [changed, still] = await products(outage, 2);
    const reader = new Reader([changed, still]);
    await reader.reaches(still, 0);
    for (let stock = 1; stock <= 5; stock += 1) await add(changed);
    await reader.reaches(changed, 5);
    const last = reader.lastId;
    await end();
    await server.restart();
    // It may be back before some of these, so it may see each; it must see the last.
    for (let stock = 6; stock <= 8; stock += 1) await add(changed);
    await reader.reaches(changed, 8);
    for (let stock = 9; stock <= 12; stock += 1) await add(changed);
    await reader.reaches(changed, 12);
    assert.equal(reader.resumed.at(-1), last, "Last-Event-ID");
    assert.deepEqual(reader.stocks(still), [0], "what did not change is not repeated");
    const stocks = reader.stocks(changed);
    assert.deepEqual(
      stocks.filter((stock) => stock <= 5 || stock >= 8),
      [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12],
    );
    reader.mustRise();
  });
}

/** An EventSource on some products, and what it was shown. */
class Reader {
  /** The records, and the `Last-Event-ID` of each request that had one. */
  #records = [];
  resumed = [];
  lastId = "";
  #source;

  constructor([first, ...more]) {
    const url = `${server.url}/v1/products/${first}/events?${more.map((key) => `key=${key}`).join("&")}`;
    this.#source = new EventSource(url, {
      fetch: (input, init) => {
        const id = init.headers["Last-Event-ID"];
        if (id !== undefined) this.resumed.push(id);
        return fetch(input, init);
      },
    });
    readers.push(this);
    this.#source.addEventListener("message", ({ data, lastEventId }) => {
      this.#records.push(JSON.parse(data));
      this.lastId = lastEventId;
    });
  }

  of(key) {
    return this.#records.filter((record) => record.key === key);
  }

  stocks(key) {
    return this.of(key).map((record) => record.value?.stock);
  }

  reaches(key, stock) {
    return until(`${key} at ${stock}`, () => this.stocks(key).at(-1) === stock);
  }

  mustRise() {
    const last = new Map();
    for (const { key, version } of this.#records) {
      assert.ok(version > (last.get(key) ?? -1), `${key}: ${version} after ${last.get(key)}`);
      last.set(key, version);
    }
  }

  close() {
    this.#source.close();
  }
}

async function products(name, count) {
  const keys = Array.from({ length: count }, (_, at) => `${name}-${at}`);
  for (const key of keys) await put(key, 0);
  return keys;
}

function put(key, stock) {
  return server.call("put", { collection: "products", key, value: { name: "tea", price: 1, stock } });
}

function add(key) {
  return server.call("patch", { collection: "products", key, increment: { stock: 1 } });
}
