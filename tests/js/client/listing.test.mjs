// `list` of the TypeScript client: a collection page by page, beside watches, and a server that is too busy for it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Client } from "../../../clients/typescript/dist/index.js";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { Line } from "./line.mjs";

const key = (name) => `${name}${Math.random().toString(36).slice(2, 8)}`;
const product = (price) => ({ name: "a lamp", price });

let server;
before(async () => (server = await Server.start()));
after(() => server?.remove());

const put = (sku, price) => server.call("put", { collection: "products", key: sku, value: product(price) });

/** A client on a line of its own, once it is open. */
async function opened(t, options = {}) {
  const line = await Line.to(server.ws);
  const client = new Client(line.url, { WebSocket, backoffBaseMs: 20, heartbeatMs: 60_000, ...options });
  t.after(() => (client.close(), line.refuse()));
  await until("the client is connected", () => client.state.status === "open");
  return { client, line };
}

/** So many products whose keys begin with the prefix that is answered; their prices count from 0. */
async function filled(count) {
  const prefix = key("L");
  await Promise.all(Array.from({ length: count }, (_, n) => put(`${prefix}${String(n).padStart(3, "0")}`, n)));
  return prefix;
}

async function all(records) {
  const found = [];
  for await (const record of records) found.push(record);
  return found;
}

const prices = async (records) => (await all(records)).map(({ value }) => value.price);
const upTo = (count) => Array.from({ length: count }, (_, n) => n);

test("a list goes through all pages in the order of keys, and asks for the next when one was taken", async (t) => {
  const { client, line } = await opened(t);
  const prefix = await filled(230);
  await put(`${prefix.slice(0, -1)}~`, 1);
  const records = await all(client.list("products", { prefix }));
  assert.deepEqual(records.map(({ value }) => value.price), upTo(230));
  assert.deepEqual(Object.keys(records[0]), ["key", "version", "stamp", "value"]);
  assert.equal(line.asked("list").length, 3);
  assert.ok(line.asked("list").every(({ params }) => params.limit === undefined), "the server's own size");

  const before = line.asked("list").length;
  for await (const { value } of client.list("products", { prefix, pageSize: 10 })) if (value.price === 12) break;
  assert.equal(line.asked("list").length - before, 2, "leaving the loop ends it");
  assert.deepEqual(await prices(client.list("products", { prefix: `${prefix}none` })), []);
});

test("a limit counts records over all pages", async (t) => {
  const { client, line } = await opened(t);
  const prefix = await filled(30);
  assert.deepEqual(await prices(client.list("products", { prefix, limit: 25, pageSize: 10 })), upTo(25));
  assert.deepEqual(line.asked("list").map(({ params }) => params.limit), [10, 10, 5]);
  assert.deepEqual(await prices(client.list("products", { prefix, limit: 30 })), upTo(30));
  assert.deepEqual(await prices(client.list("products", { limit: 0 })), []);
  await assert.rejects(prices(client.list("products", { limit: 1.5 })), { name: "TypeError", message: /limit is 1\.5/ });
  await assert.rejects(prices(client.list("products", { pageSize: 100_000 })), { name: "FreshetError", reason: "too_large" });
  await assert.rejects(prices(client.list("no_such_collection")), { reason: "unknown_collection" });
});

test("a record that is watched comes as it is known, and a newer one goes to the watch", async (t) => {
  const { client, line } = await opened(t);
  const prefix = await filled(4);
  const [older, newer, gone] = [1, 2, 3].map((n) => `${prefix}00${n}`);
  const heard = new Map();
  const watch = client.watch("products", [older, newer, gone], ({ key, value }) => heard.set(key, value?.price ?? null));
  await until("all are known", () => heard.size === 3);
  const page = await server.call("list", { collection: "products", prefix });
  await put(older, 10);
  await server.call("delete", { collection: "products", key: gone });
  await until("the changes are known", () => heard.get(older) === 10 && heard.get(gone) === null);

  // What a replica may say that is behind of some changes, and of another one has not been pushed yet.
  const ahead = page.records.map((record) => {
    const [generation, version] = record.stamp.split(".");
    const next = `${generation}.${Number(version) + 1_000_000}`;
    return record.key === newer ? { ...record, stamp: next, version: record.version + 1_000_000, value: product(20) } : record;
  });
  line.edit((message) => (message.result?.records ? { ...message, result: { records: ahead } } : message));
  assert.deepEqual(await prices(client.list("products", { prefix })), [0, 10, 20]);
  assert.deepEqual([older, newer, gone].map((sku) => heard.get(sku)), [10, 20, null]);
  assert.equal(watch.state(gone).value, null);
});

test("a server that is too busy is asked again after the time that it says", async (t) => {
  const { client, line } = await opened(t);
  const prefix = await filled(3);
  const refused = [];
  const error = { code: -32009, message: "too many lists", data: { reason: "overloaded", retry_after_ms: 40 } };
  line.edit(({ result, ...message }) => {
    if (!result?.records || refused.length === 2) return { result, ...message };
    refused.push(Date.now());
    return { ...message, error };
  });
  assert.deepEqual(await prices(client.list("products", { prefix })), [0, 1, 2]);
  assert.equal(line.asked("list").length, 3);
  assert.ok(refused[1] - refused[0] >= 40 && Date.now() - refused[1] >= 40);

  line.edit(({ result, ...message }) => (result?.records ? { ...message, error } : { result, ...message }));
  await assert.rejects(prices(client.list("products", { prefix, timeoutMs: 200 })), { reason: "overloaded", retryAfterMs: 40 });
  const reason = new Error("the page was left");
  const controller = new AbortController();
  const listing = prices(client.list("products", { prefix, signal: controller.signal }));
  await line.untilAsked("list", line.asked("list").length + 1);
  controller.abort(reason);
  await assert.rejects(listing, reason);
});

test("an aborted list rejects with its signal's reason before the next record", async (t) => {
  const { client } = await opened(t);
  const prefix = await filled(5);
  const controller = new AbortController();
  const reason = new Error("enough");
  const seen = [];
  await assert.rejects(async () => {
    for await (const { value } of client.list("products", { prefix, signal: controller.signal })) {
      seen.push(value.price);
      if (value.price === 2) controller.abort(reason);
    }
  }, reason);
  assert.deepEqual(seen, [0, 1, 2]);
});

test("values are read from their own text on every page", async (t) => {
  const { client } = await opened(t, { parse: (text) => text });
  const prefix = await filled(25);
  const records = await all(client.list("products", { prefix, pageSize: 10 }));
  assert.equal(records.length, 25);
  assert.ok(records.every(({ value }) => typeof value === "string" && value.includes('"name":"a lamp"')));
});
