// What only the TypeScript client has of watching and asking: iteration, `using`, signals, states that are known beforehand, and
// how subscriptions travel.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Client } from "../../../clients/typescript/dist/index.js";
import { asyncDispose, dispose } from "../../../clients/typescript/dist/dispose.js";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { Line } from "./line.mjs";

const key = (name) => `${name}${Math.random().toString(36).slice(2, 8)}`;
const product = (price) => ({ name: "a lamp", price });

let server;
before(async () => (server = await Server.start({ memory: true })));
after(() => server?.remove());

const put = (sku, price) => server.call("put", { collection: "products", key: sku, value: product(price) });

/** A client on a line of its own, once it is open. */
async function opened(t, { options = {}, target = server } = {}) {
  const line = await Line.to(target.ws);
  const client = new Client(line.url, { WebSocket, backoffBaseMs: 20, heartbeatMs: 60_000, ...options });
  t.after(() => (client.close(), line.refuse()));
  await until("the client is connected", () => client.state.status === "open");
  return { client, line };
}

test("a loop over a watch gets the known state, then newer ones, and closes it on leaving", async (t) => {
  const { client, line } = await opened(t, { options: { lingerMs: 20 } });
  const sku = key("A");
  await put(sku, 1);
  const prices = [];
  for await (const { value } of client.watch("products", sku)) {
    prices.push(value.price);
    if (value.price === 3) break;
    await put(sku, value.price + 1);
  }
  assert.deepEqual(prices, [1, 2, 3]);
  await line.untilAsked("unsubscribe");
});

test("a slow loop skips to the newest state of each key", async (t) => {
  const { client } = await opened(t);
  const [a, b] = [key("A"), key("B")];
  const watch = client.watch("products", [a, b]);
  const states = watch[Symbol.asyncIterator]();
  const first = await states.next();
  assert.equal(first.value.value, null);
  for (const price of [1, 2, 3]) await Promise.all([put(a, price), put(b, price)]);
  await until("both are here", () => [a, b].every((sku) => watch.state(sku)?.value?.price === 3));
  const two = [(await states.next()).value, (await states.next()).value];
  assert.deepEqual(two.map(({ key, value }) => [key, value.price]).sort(), [[a, 3], [b, 3]].sort());
  const pending = states.next();
  watch.close();
  assert.deepEqual([await pending, await states.next()], [{ done: true, value: undefined }, { done: true, value: undefined }]);
});

test("a loop beside a listener leaves the watch alone, and one over a refused key throws why", async (t) => {
  const { client } = await opened(t);
  const sku = key("A");
  const heard = [];
  const watch = client.watch("products", sku, ({ value }) => heard.push(value?.price));
  for await (const _ of watch) break;
  await put(sku, 4);
  await until("the listener still hears", () => heard.at(-1) === 4);
  await assert.rejects(async () => {
    for await (const _ of client.watch("no_such_collection", sku));
  }, { reason: "unknown_collection" });
});

test("what is disposed of is closed, and a client waits for its writes", async (t) => {
  const { client, line } = await opened(t);
  const sku = key("A");
  const watch = client.watch("products", sku, () => {});
  watch[dispose]();
  assert.deepEqual(watch.keys, []);
  line.hold();
  const write = client.put("products", sku, product(1));
  const over = client[asyncDispose]();
  await line.untilAsked("put");
  assert.equal(client.state.status, "open");
  line.flow();
  assert.equal((await write).key, sku);
  await over;
  assert.equal(client.state.status, "closed");
});

test("an aborted call rejects with its signal's reason, whether it was sent or not", async (t) => {
  const { client, line } = await opened(t);
  const sku = key("A");
  const reason = new Error("the page was left");
  await assert.rejects(client.get("products", sku, { signal: AbortSignal.abort(reason) }), reason);
  line.hold();
  const controller = new AbortController();
  const { signal } = controller;
  const calls = [client.get("products", sku, { signal }), client.put("products", sku, product(1), { signal })];
  await line.untilAsked("put");
  controller.abort(reason);
  for (const call of calls) await assert.rejects(call, reason);
  await assert.rejects(client.get("products", sku, { signal: AbortSignal.timeout(10) }), { name: "TimeoutError" });
  line.flow();
  assert.equal((await client.get("products", sku)).key, sku, "the connection serves on");
});

test("a state known beforehand is resumed, and neither it nor a newer one is undone by an older", async (t) => {
  const { client, line } = await opened(t);
  const sku = key("A");
  await put(sku, 1);
  const old = await client.get("products", sku);
  await put(sku, 2);
  const known = await client.get("products", sku);
  const heard = [];
  client.watch("products", sku, ({ value }) => heard.push(value.price), { initial: known });
  await line.untilAsked("subscribe");
  assert.equal(line.asked("subscribe")[0].params.since[sku], known.stamp);
  await until("it is fresh", () => client.peek("products", sku).freshness.isFresh);
  assert.equal(line.pushed(sku).length, 0, "it is not sent again");
  const later = [];
  client.watch("products", sku, ({ value }) => later.push(value.price), { initial: old });
  assert.equal(client.peek("products", sku, old).state.value.price, 2);
  await put(sku, 3);
  await until("both have the newest", () => heard.at(-1) === 3 && later.at(-1) === 3);
  assert.deepEqual([heard, later], [[2, 3], [2, 3]]);
});

test("a key that was left is not handed an older state when it is watched again", async (t) => {
  const { client, line } = await opened(t, { options: { lingerMs: 20 } });
  const sku = key("A");
  await put(sku, 1);
  const old = await client.get("products", sku);
  await put(sku, 2);
  const watch = client.watch("products", sku, () => {});
  await until("it is here", () => watch.state(sku)?.value?.price === 2);
  const seen = watch.state(sku).stamp;
  watch.close();
  await line.untilAsked("unsubscribe");
  assert.equal(client.peek("products", sku, old).state, undefined, "nor by an old rendering");
  // A node that is behind: its snapshot is what the record was.
  line.edit((message) => {
    const { result } = message.params ?? {};
    if (result?.stamp === seen) Object.assign(result, { stamp: old.stamp, version: old.version, value: old.value });
    return message;
  });
  const heard = [];
  client.watch("products", sku, ({ value }) => heard.push(value.price), { initial: old });
  await until("the old snapshot has come", () => line.pushed(sku).length === 2);
  assert.equal(line.asked("subscribe")[1].params.since, undefined, "it has no state to resume from");
  await put(sku, 3);
  await until("the next state has come", () => heard.length > 0);
  assert.deepEqual(heard, [3]);
});

test("the watches of one turn travel in one message, and other calls do not overtake them", async (t) => {
  const { client, line } = await opened(t);
  const skus = Array.from({ length: 150 }, () => key("B"));
  client.watch("products", skus, () => {});
  const [first] = skus;
  await client.get("products", first);
  await line.untilAsked("subscribe", 150);
  assert.equal(line.framesOf("subscribe"), 2, "100 at most in one");
  const methods = line.asked().map(({ method }) => method);
  assert.equal(methods.indexOf("get"), 150);
});

test("a server that takes smaller batches is asked one by one", async (t) => {
  const small = await Server.start({ memory: true, config: "[session]\nbatch_max = 10\n" });
  t.after(() => small.remove());
  const { client, line } = await opened(t, { target: small });
  const seen = new Set();
  const skus = Array.from({ length: 30 }, () => key("S"));
  client.watch("products", skus, ({ key }) => seen.add(key));
  await until("all are here", () => seen.size === skus.length);
  assert.equal(line.taken, 2);
});

test("subscriptions that nobody reads make room for those that somebody does", async (t) => {
  const small = await Server.start({ memory: true, config: "[session]\nsubscriptions_max = 10\n" });
  t.after(() => small.remove());
  const { client } = await opened(t, { target: small, options: { lingerMs: 600_000 } });
  const [seen, refused] = [new Set(), []];
  const watch = (skus) => client.watch("products", skus, ({ key }) => seen.add(key), { onError: (error) => refused.push(error.reason) });
  const before = Array.from({ length: 10 }, () => key("X"));
  const first = watch(before);
  await until("the first are here", () => seen.size === 10);
  first.close();
  const second = watch(Array.from({ length: 10 }, () => key("Y")));
  await until("the others are here", () => seen.size === 20);
  assert.deepEqual([refused, second.isLive], [[], true]);
  watch([key("Z")]);
  await until("one more is refused", () => refused.length === 1);
  assert.deepEqual(refused, ["subscriptions"]);
});

test("what is watched again while it lingers is known at once, over a lost connection too", async (t) => {
  const { client, line } = await opened(t, { options: { lingerMs: 600_000 } });
  const sku = key("L");
  const { stamp } = await put(sku, 1);
  const watch = client.watch("products", sku, () => {});
  await until("it is here", () => watch.isFresh);
  watch.close();
  assert.deepEqual([client.peek("products", sku).isLive, client.peek("products", sku).state.stamp], [true, stamp]);
  await line.refuse();
  await line.accept();
  await until("the client is back", () => client.state.status === "open" && line.taken === 2);
  assert.equal(line.asked("subscribe").length, 1, "what nobody reads is not asked for anew");
  const heard = [];
  client.watch("products", sku, ({ value }) => heard.push(value.price));
  await line.untilAsked("subscribe", 2);
  assert.equal(line.asked("subscribe")[1].params.since[sku], stamp);
  await put(sku, 2);
  await until("it goes on", () => heard.at(-1) === 2);
  assert.deepEqual(heard, [1, 2]);
});
