// One end-to-end script for clients that know nothing of Freshet. An adapter in `clients/` says how a client is opened
// and called, and what it by its nature `cannot` do; those steps are skipped under that reason.

import assert from "node:assert/strict";

import { LIMIT } from "../until.mjs";

// The parameters of each method in their order, to send by position what the script names.
const ORDER = {
  get: ["collection", "key", "min_stamp", "max_stale_ms"],
  get_many: ["collection", "keys", "min_stamp", "max_stale_ms"],
  put: ["collection", "key", "value", "if_stamp", "idempotency_key"],
  patch: ["collection", "key", "value", "increment", "if_stamp", "idempotency_key", "return"],
  delete: ["collection", "key", "if_stamp", "idempotency_key"],
  subscribe: ["collection", "keys", "since"],
};

const TEA = { name: "tea", price: 295, stock: 41 };
let nextKey = 0;

/** Runs the script for one client: `t` is the test it reports to. */
export async function run(t, adapter, server) {
  const client = await adapter.open(server.ws);
  const { cannot, prefix } = adapter;
  const forms = cannot.byName ? [positional] : [positional, (method, params) => params];
  t.diagnostic(`parameters ${cannot.byName ? `by position only: ${cannot.byName}` : "by position and by name"}`);
  try {
    for (const form of forms) {
      const call = (method, params) => client.call(prefix + method, form(method, params));
      const follow = (params, listener) => client.follow(form("subscribe", params), listener);
      const how = form === positional ? "by position" : "by name";
      await t.test(`reads and writes, ${how}`, () => readsAndWrites(call));
      await t.test(`is told what was wrong, ${how}`, () => refusals(call, client, prefix));
      await t.test(`follows a record in order and stops, ${how}`, () => subscriptions(call, follow));
    }
    await t.test("sends a batch", { skip: cannot.batch }, () => batches(client, prefix));
    await t.test("sends a notification", { skip: cannot.notify }, () => notifications(client, prefix));
  } finally {
    await client.close();
  }
}

/** The part for clients that reconnect by themselves: `outage` kills the server and starts it again. */
export async function comeBack(adapters, server, outage) {
  const products = { collection: "products", key: key() };
  const stamp = (await server.call("put", { ...products, value: { ...TEA, stock: 1 } })).stamp;
  const clients = await Promise.all(adapters.map((adapter) => adapter.open(server.ws)));
  try {
    const followed = await Promise.all(
      clients.map(async (client) => {
        const pushes = new Pushes();
        await client.follow(["products", products.key], pushes.take);
        assert.equal(await pushes.stock(), 1);
        return pushes;
      }),
    );
    const returns = clients.map((client) => client.back());
    await outage();
    await server.call("patch", { ...products, increment: { stock: 1 } });
    await Promise.all(
      clients.map(async (client, place) => {
        await returns[place];
        if (adapters[place].comesBack === "connects") {
          await client.follow(["products", products.key, { [products.key]: stamp }], followed[place].take);
        }
        // What subscribes by itself may have done so before the change: then its snapshot comes first.
        await followed[place].until(2);
      }),
    );
    await server.call("patch", { ...products, increment: { stock: 1 } });
    for (const pushes of followed) assert.equal(await pushes.stock(), 3);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

async function readsAndWrites(call) {
  const at = { collection: "products", key: key() };
  const absent = await call("get", at);
  assert.deepEqual([absent.key, absent.version, absent.value], [at.key, 0, null]);
  const made = await call("put", { ...at, value: TEA, if_stamp: "0", idempotency_key: "made" });
  assert.deepEqual(await call("put", { ...at, value: TEA, if_stamp: "0", idempotency_key: "made" }), made);
  const sold = await call("patch", { ...at, value: { name: "green tea" }, increment: { stock: -1 }, return: true });
  assert.deepEqual([sold.value.name, sold.value.stock, sold.value.price], ["green tea", 40, 295]);
  assert.ok(sold.version > made.version);
  const { version, stamp, value } = await call("get", { ...at, min_stamp: sold.stamp });
  assert.deepEqual({ version, stamp, value }, { version: sold.version, stamp: sold.stamp, value: sold.value });
  const { records } = await call("get_many", { collection: "products", keys: ["absent", at.key] });
  assert.deepEqual(
    records.map((record) => record.value?.stock),
    [undefined, 40],
  );
  const gone = await call("delete", { ...at, if_stamp: sold.stamp });
  const left = await call("get", { ...at, min_stamp: gone.stamp });
  assert.deepEqual([left.value, left.stamp], [null, gone.stamp]);
}

async function refusals(call, client, prefix) {
  const at = { collection: "products", key: key() };
  const made = await call("put", { ...at, value: TEA });
  const now = await call("patch", { ...at, increment: { stock: 1 } });
  const conflict = await refused(call("put", { ...at, value: TEA, if_stamp: made.stamp }));
  assert.deepEqual([conflict.code, conflict.data], [-32006, { reason: "version_conflict", stamp: now.stamp }]);
  const short = await refused(call("patch", { ...at, increment: { stock: -1_000 } }));
  assert.deepEqual([short.code, short.data.reason], [-32005, "invalid_value"]);
  assert.equal(short.data.constraint, "products_stock_not_negative");
  const nowhere = await refused(call("get", { ...at, collection: "nothing" }));
  assert.deepEqual([nowhere.code, nowhere.data.reason], [-32003, "unknown_collection"]);
  const unknown = await refused(client.call(`${prefix}nothing`, []));
  assert.deepEqual([unknown.code, unknown.data.reason], [-32601, "method_not_found"]);
  const invalid = await refused(call("get", { collection: "products", key: { not: "text" } }));
  assert.deepEqual([invalid.code, invalid.data.reason], [-32602, "invalid_params"]);
  assert.match(invalid.message, /key/);
  assert.equal((await call("get", at)).stamp, now.stamp, "the socket is as good as before");
}

async function subscriptions(call, follow) {
  const at = { collection: "products", key: key() };
  const [first, second] = [new Pushes(), new Pushes()];
  const stop = await follow({ collection: "products", keys: [at.key, "absent"] }, first.take);
  // In any order: each comes as soon as its key could be read.
  const snapshots = [await first.next(), await first.next()];
  assert.deepEqual(new Set(snapshots.map((record) => record.key)), new Set([at.key, "absent"]));
  assert.ok(snapshots.every((record) => record.value === null));
  await call("put", { ...at, value: { ...TEA, stock: 0 } });
  assert.equal(await first.stock(), 0);
  await follow({ collection: "products", keys: at.key }, second.take);
  assert.equal(await second.stock(), 0);
  for (let stock = 1; stock <= 5; stock += 1) {
    await call("patch", { ...at, increment: { stock: 1 } });
    assert.deepEqual([await first.stock(), await second.stock()], [stock, stock]);
  }
  first.mustRise();
  assert.equal(await stop(), true);
  await call("delete", at);
  assert.equal((await second.next()).value, null);
  assert.equal(first.waiting, 0, "nothing comes after the answer to unsubscribe");
}

async function batches(client, prefix) {
  const absent = key();
  const answers = await client.batch([
    [`${prefix}get`, ["products", absent]],
    [`${prefix}nothing`, []],
    [`${prefix}get_many`, ["products", [absent]]],
  ]);
  assert.deepEqual([answers[0].result.key, answers[0].result.value], [absent, null]);
  assert.equal(answers[1].error.code, -32601);
  assert.equal(answers[2].result.records.length, 1);
}

async function notifications(client, prefix) {
  const at = key();
  const pushes = new Pushes();
  await client.follow(["products", at], pushes.take);
  assert.equal(await pushes.stock(), undefined);
  await client.notify(`${prefix}put`, ["products", at, TEA]);
  assert.equal(await pushes.stock(), 41);
}

/** Records as they are pushed to one subscription. */
class Pushes {
  #seen = [];
  #read = 0;
  #wake = () => {};

  take = (record) => {
    this.#seen.push(record);
    this.#wake();
  };

  get waiting() {
    return this.#seen.length - this.#read;
  }

  async next() {
    if (this.waiting === 0) {
      await new Promise((resolve, reject) => {
        const limit = setTimeout(() => reject(new Error("waited in vain for a push")), LIMIT);
        this.#wake = () => resolve(clearTimeout(limit));
      });
    }
    return this.#seen[this.#read++];
  }

  async stock() {
    return (await this.next()).value?.stock;
  }

  async until(stock) {
    while ((await this.stock()) !== stock);
  }

  mustRise() {
    const last = new Map();
    for (const { key, version } of this.#seen) {
      assert.ok(version > (last.get(key) ?? -1), `${key}: ${version} after ${last.get(key)}`);
      last.set(key, version);
    }
  }
}

function positional(method, params) {
  const given = ORDER[method].map((name) => params[name] ?? null);
  while (given.at(-1) === null) given.pop();
  return given;
}

async function refused(promise) {
  return promise.then(
    (result) => assert.fail(`answered ${JSON.stringify(result)}`),
    (error) => error,
  );
}

function key() {
  nextKey += 1;
  return `foreign-${nextKey}`;
}
