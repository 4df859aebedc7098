// What every client does, one claim a scenario, with the rules of docs/client.md that it shows. A scenario is given a
// server, a line to it, and `open`, which makes a client under test on that line; and a key prefix of its own.

import assert from "node:assert/strict";

import { Proxy } from "../proxy.mjs";
import { until } from "../until.mjs";

// Waits short enough for a suite, and no signs of life asked for while one lasts: they would look like the end of a
// subscription. The default numbers are tested beside the code.
const QUICK = { backoffBaseMs: 20, backoffCapMs: 200, heartbeatMs: 60_000, lingerMs: 20 };

const product = (price) => ({ name: "a lamp", price });
const failed = (answer) =>
  answer.then(
    (ok) => assert.fail(`it succeeded: ${JSON.stringify(ok)}`),
    (error) => error,
  );
const generation = (stamp) => Number(stamp.split(".")[0]);
const key = (name) => `${name}-${Math.random().toString(36).slice(2, 10)}`;

export const scenarios = [
  {
    claim: "reads and writes are answered, and refusals say why",
    rules: ["C1", "R7"],
    run: async ({ line, open }) => {
      const [a, b] = [key("A"), key("B")];
      const client = await open(line.url, QUICK);
      const put = await client.put(a, product(5));
      assert.equal((await client.get(a)).stamp, put.stamp);
      const patched = await client.patch(a, { merge: { name: "a chair" }, increment: { stock: 3 } }, { returns: true });
      assert.deepEqual([patched.value.name, patched.value.stock, patched.value.price], ["a chair", 3, 5]);
      const conflict = await failed(client.put(a, product(6), { ifStamp: put.stamp }));
      assert.deepEqual(
        [conflict.code, conflict.reason, conflict.data.stamp],
        [-32006, "version_conflict", patched.stamp],
      );
      const gone = await client.delete(a);
      const [absent, never] = await client.getMany([a, b]);
      assert.deepEqual([absent.value, absent.stamp, never.value, never.version], [null, gone.stamp, null, 0]);
      assert.equal(line.taken, 1);
    },
  },
  {
    claim: "two watches of one key are one subscription, which ends with the last",
    rules: ["C1", "S1", "S2"],
    run: async ({ line, open }) => {
      const [a, b] = [key("A"), key("B")];
      const client = await open(line.url, QUICK);
      const first = await client.watch([a]);
      const second = await client.watch([a, b]);
      await client.put(a, product(1));
      for (const watch of [first, second]) await watch.until(a, ({ value }) => value?.price === 1);
      await second.until(b);
      await first.close();
      await client.put(a, product(2));
      await second.until(a, ({ value }) => value?.price === 2);
      assert.equal(first.stamps(a).includes(second.stamps(a).at(-1)), false, "a watch that was closed is told nothing");
      const asked = line.asked("subscribe").map(({ params }) => params.key ?? params.keys);
      assert.deepEqual(asked.flat().sort(), [a, b]);
      assert.equal(line.asked("unsubscribe").length, 0);
      await second.close();
      await line.untilAsked("unsubscribe", 2);
      assert.equal(line.taken, 1);
    },
  },
  {
    claim: "a further watch of a key is handed the known state at once",
    rules: ["S3"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      await (await client.watch([a])).until(a);
      line.hold();
      const further = await client.watch([a]);
      assert.equal((await further.until(a)).value.price, 1);
      line.flow();
    },
  },
  {
    claim: "a watch that is closed before its answer came leaves no subscription",
    rules: ["S2"],
    run: async ({ line, open }) => {
      const client = await open(line.url, QUICK);
      await client.until("open");
      line.hold();
      const watch = await client.watch([key("A")]);
      await line.untilAsked("subscribe");
      await watch.close();
      line.flow();
      await line.untilAsked("unsubscribe");
    },
  },
  {
    claim: "a server that is killed and started again is resumed from the last stamps",
    rules: ["C4", "K2", "S4", "O1"],
    run: async ({ server, line, open }) => {
      const [a, b, none] = [key("A"), key("B"), key("N")];
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const known = await client.put(b, product(1));
      const watch = await client.watch([a, b, none]);
      for (const each of [a, b, none]) await watch.until(each);
      const before = line.said.length;
      await server.kill();
      await client.until(({ status }) => status === "waiting");
      await line.refuse();
      await server.restart();
      await server.call("put", { collection: "products", key: a, value: product(2) });
      await line.accept();
      await watch.until(a, ({ value }) => value.price === 2);
      const since = line.said
        .slice(before)
        .filter(({ from, message }) => from === "client" && message.method === "subscribe");
      const told = Object.assign({}, ...since.map(({ message }) => message.params.since));
      assert.deepEqual([told[b], told[none]], [known.stamp, undefined], "version 0 is nothing to resume from");
      assert.deepEqual(watch.stamps(b), [known.stamp], "what had not changed is not handed over again");
      const pushes = line.said.slice(before).filter(({ message }) => message.params?.result?.key === b);
      assert.equal(pushes.length, 0, "nor is it sent again");
    },
  },
  {
    claim: "a record written all the while ends on every screen, though the server is killed again and again",
    rules: ["C4", "R2", "S4", "O1"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const [writer, reader] = [await open(line.url, QUICK), await open(line.url, QUICK)];
      const watch = await reader.watch([a]);
      await writer.put(a, product(1));
      const writes = [];
      const write = () => writes.push(writer.patch(a, { increment: { stock: 1 } }, { idempotencyKey: key("w") }));
      for (let kill = 0; kill < 2; kill += 1) {
        for (let n = 0; n < 5; n += 1) write();
        await server.kill();
        for (let n = 0; n < 5; n += 1) write();
        await server.restart();
      }
      await Promise.all(writes);
      await watch.until(a, ({ value }) => value?.stock === writes.length);
      const stocks = watch.records.filter(({ value }) => value).map(({ value }) => value.stock);
      assert.deepEqual(
        stocks,
        [...stocks].sort((x, y) => x - y),
        "each write counted once, and in order",
      );
    },
  },
  {
    claim: "an older state is not handed over, whatever the server says",
    rules: ["O1", "O5"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const watch = await client.watch([a]);
      const { stamp, version } = await watch.until(a);
      const [{ subscription }] = line.pushed(a);
      const push = (version, stamp, price) => {
        const result = { key: a, version, stamp, value: product(price) };
        line.say({ method: "freshet_subscription", params: { subscription, result } });
      };
      const g = generation(stamp);
      push(version + 2, `${g}.${version + 2}`, 3);
      await watch.until(a, ({ value }) => value.price === 3);
      push(version + 1, `${g}.${version + 1}`, 2);
      push(version + 2, `${g}.${version + 2}`, 3);
      push(version + 900, `${g - 1}.${version + 900}`, 4);
      push(version + 3, `${g}.${version + 3}`, 5);
      await watch.until(a, ({ value }) => value.price === 5);
      assert.deepEqual(
        watch.records.map(({ value }) => value.price),
        [1, 3, 5],
      );
      const read = await client.get(a);
      assert.equal(read.value.price, 5, "nor is an older answer");
    },
  },
  {
    claim: "a push that overtakes an answer is not undone by it",
    rules: ["O1", "O5"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const watch = await client.watch([a]);
      const { stamp, version } = await watch.until(a);
      const [{ subscription }] = line.pushed(a);
      const push = (ahead, price) => {
        const at = version + ahead;
        const result = { key: a, version: at, stamp: `${generation(stamp)}.${at}`, value: product(price) };
        line.say({ method: "freshet_subscription", params: { subscription, result } });
      };
      line.hold();
      const [one, many] = [client.get(a), client.getMany([a])];
      const patched = client.patch(a, { merge: { price: 2 } }, { returns: true });
      const isAnswered = (id) => line.said.some(({ from, message }) => from === "server" && message.id === id);
      const asked = ["get", "get_many", "patch"];
      for (const method of asked) await line.untilAsked(method);
      await until("the server has answered", () => asked.every((method) => isAnswered(line.asked(method)[0].id)));
      push(1_000_000, 3);
      await watch.until(a, ({ value }) => value.price === 3);
      line.flow();
      assert.deepEqual([(await one).value.price, (await many)[0].value.price], [3, 3]);
      assert.equal((await patched).value.price, 2, "what a write is answered with is its own outcome");
      push(1_000_001, 4);
      await watch.until(a, ({ value }) => value.price === 4);
      assert.deepEqual(
        watch.records.map(({ value }) => value.price),
        [1, 3, 4],
      );
    },
  },
  {
    claim: "news that an answer brings is handed to the watches",
    rules: ["O5"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const watch = await client.watch([a]);
      await watch.until(a);
      line.edit((message) => (message.method ? { jsonrpc: "2.0", method: "freshet_nothing" } : message));
      await server.call("put", { collection: "products", key: a, value: product(2) });
      await client.get(a);
      await watch.until(a, ({ value }) => value.price === 2);
    },
  },
  {
    claim: "lost history is handed over as a reset",
    rules: ["O2"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const watch = await client.watch([a]);
      const before = await watch.until(a);
      await server.sql(
        "UPDATE feed.shard_state SET gen = gen + 1; SELECT setval('feed.vseq', nextval('feed.vseq') + 4294967296)",
      );
      const after = await watch.until(a, ({ reset }) => reset === true);
      assert.equal(generation(after.stamp), generation(before.stamp) + 1);
      await client.put(a, product(2));
      await watch.until(a, ({ value }) => value.price === 2);
      const [{ subscription }] = line.pushed(a);
      const result = { key: a, version: 1, stamp: `${generation(before.stamp)}.1`, value: product(3), reset: true };
      line.say({ method: "freshet_subscription", params: { subscription, result } });
      await watch.until(a, ({ value }) => value.price === 3);
    },
  },
  {
    claim: "a deletion that the store forgot is believed when it is the answer to subscribing",
    rules: ["O3"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      const { stamp } = await client.put(a, product(1));
      const watch = await client.watch([a]);
      await watch.until(a);
      await line.refuse();
      await server.call("delete", { collection: "products", key: a });
      await server.sql("DELETE FROM feed.tomb");
      await server.stop();
      await server.restart();
      await line.accept();
      const gone = await watch.until(a, ({ value }) => value === null);
      assert.equal(gone.version, 0);
      const subscribed = line.asked("subscribe").length;
      line.cut();
      await line.untilAsked("subscribe", subscribed + 1);
      assert.equal(line.asked("subscribe").at(-1).params.since[a], stamp);
      await client.put(a, product(2));
      await watch.until(a, ({ value }) => value?.price === 2);
      assert.equal(watch.records.length, 3, "it was told once");
    },
  },
  {
    claim: "what was under way when the connection broke is repeated where that is harmless, and only there",
    rules: ["R1", "R2", "R3", "S4"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      await (await client.watch([a])).until(a);
      line.hold();
      const more = { increment: { stock: 1 } };
      const [read, keyed, once] = [
        client.get(a),
        client.patch(a, more, { idempotencyKey: key("once") }),
        client.patch(a, more),
      ];
      const stock = async () => (await server.call("get", { collection: "products", key: a })).value.stock;
      await until("both writes are done", async () => (await stock()) === 2);
      line.cut();
      line.flow();
      const unknown = await failed(once);
      assert.deepEqual([unknown.code, unknown.reason], [-32012, "outcome_unknown"]);
      assert.equal((await read).key, a);
      assert.equal((await keyed).key, a);
      assert.equal(await stock(), 2, "each was done once");
      assert.equal(line.asked("patch").length, 3);
      const again = line.said.filter(({ from, connection }) => from === "client" && connection === 2);
      const [first, ...rest] = again.map(({ message }) => message.method);
      assert.equal(first, "subscribe");
      assert.deepEqual(rest.sort(), ["get", "patch"], "calls made at once have no order among them");
    },
  },
  {
    claim: "requests made while the server is away wait for it",
    rules: ["C2", "R4"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.until("open");
      await server.kill();
      await client.until("waiting");
      await line.refuse();
      const [read, write] = [client.get(a), client.put(a, product(1))];
      await server.restart();
      await line.accept();
      await Promise.all([read, write]);
      assert.equal(line.asked("put").length, 1);
    },
  },
  {
    claim: "a request whose time is up says what is known of it",
    rules: ["R6"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, { ...QUICK, requestTimeoutMs: 300 });
      await client.until("open");
      line.hold();
      const [read, sent] = [await failed(client.get(a)), await failed(client.put(a, product(1)))];
      assert.deepEqual([read.code, read.reason, sent.reason], [-32011, "deadline", "outcome_unknown"]);
      const named = await failed(client.put(a, product(1), { idempotencyKey: key("named") }));
      assert.equal(named.reason, "outcome_unknown");
      await line.refuse();
      await client.until(({ status }) => status !== "open");
      line.flow();
      const unsent = await failed(client.put(a, product(1)));
      assert.equal(unsent.reason, "deadline");
      await line.accept();
      // To come back may take longer than a request may.
      await client.until("open");
      await client.get(a);
    },
  },
  {
    claim: "a write of which the server does not know what became of it is repeated under its idempotency key",
    rules: ["R5"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      const unknown = { code: -32012, message: "lost", data: { reason: "outcome_unknown", retry_after_ms: 20 } };
      let times = 1;
      line.edit((message) =>
        message.result?.stamp && times-- > 0 ? { jsonrpc: "2.0", id: message.id, error: unknown } : message,
      );
      await client.put(a, product(1), { idempotencyKey: key("named") });
      assert.equal(line.asked("put").length, 2);
      times = 1;
      assert.equal((await failed(client.put(a, product(2)))).reason, "outcome_unknown");
      assert.equal(line.asked("put").length, 3);
    },
  },
  {
    claim: "a client that is drained comes back when it was told to",
    rules: ["D1", "C5"],
    run: async ({ server, line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      const watch = await client.watch([a]);
      await watch.until(a);
      const taken = line.taken;
      let toldAt = 0;
      let told = 0;
      line.edit((message) => {
        if (message.method !== "freshet_drain") return message;
        toldAt = Date.now();
        told = message.params.reconnect_in_ms = 700;
        return message;
      });
      const stopped = server.stop();
      await client.until(({ status, reconnectInMs }) => status === "waiting" || reconnectInMs > 0);
      await stopped;
      await server.restart();
      await until("it comes back", () => line.taken > taken);
      const waited = Date.now() - toldAt;
      assert.ok(told === 700 && waited >= 690 && waited < 2_000, `told ${told} ms, came back after ${waited} ms`);
      await client.put(a, product(1));
      await watch.until(a, ({ value }) => value?.price === 1);
    },
  },
  {
    claim: "a client leaves a draining node by itself, with every answer that it waited for",
    rules: ["D1", "D2", "D3"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      line.hold();
      const under_way = client.put(a, product(2));
      await line.untilAsked("put", 2);
      line.say({ method: "freshet_drain", params: { reconnect_in_ms: 200 } });
      await client.until(({ reconnectInMs }) => reconnectInMs === 200);
      const [read, write] = [client.get(a), client.put(a, product(3))];
      await line.untilAsked("get");
      assert.equal(line.asked("put").length, 2, "a write that cannot be repeated waits");
      assert.equal(line.taken, 1);
      line.flow();
      await Promise.all([under_way, read, write]);
      assert.equal(line.taken, 2);
      const third = line.said.find(({ message }) => message.method === "put" && message.params.value.price === 3);
      assert.equal(third.connection, 2);
    },
  },
  {
    claim: "a client that is told to mend something first does not come back",
    rules: ["K1", "C5"],
    run: async ({ line, open }) => {
      for (const code of [4401, 4429]) {
        const client = await open(line.url, QUICK);
        const watch = await client.watch([key("A")]);
        await client.until("open");
        await line.untilAsked("subscribe");
        const taken = line.taken;
        line.close(code);
        await client.until("closed");
        assert.equal((await failed(client.get("A"))).reason, "closed");
        await until("the watch is told", () => watch.refusals.length === 1);
        assert.equal(line.taken, taken);
        line.said.length = 0;
      }
    },
  },
  {
    claim: "a client that was closed for another reason comes back",
    rules: ["K1", "K2"],
    run: async ({ line, open }) => {
      const client = await open(line.url, QUICK);
      for (const code of [1001, 1011, 1012, 1013, 4408]) {
        await client.until("open");
        const taken = line.taken;
        line.close(code);
        await until(`it comes back after ${code}`, () => line.taken > taken);
      }
      await client.get("A");
    },
  },
  {
    claim: "a message that was too large does not close the next connection",
    rules: ["K3"],
    run: async ({ line, open }) => {
      const client = await open(line.url, QUICK);
      await client.until("open");
      line.hold();
      const [read, write] = [client.get("A"), client.put("A", product(1), { idempotencyKey: key("large") })];
      await Promise.all([line.untilAsked("get"), line.untilAsked("put")]);
      line.close(1009);
      assert.equal((await failed(read)).reason, "too_large");
      assert.equal((await failed(write)).reason, "outcome_unknown");
      line.flow();
      await client.get("B");
      assert.deepEqual([line.asked("get").length, line.asked("put").length], [2, 1]);
    },
  },
  {
    claim: "a subscription that is refused for now is asked for again, any other refusal is reported",
    rules: ["S5"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.until("open");
      const busy = { code: -32009, message: "busy", data: { reason: "overloaded", retry_after_ms: 20 } };
      let times = 2;
      line.edit((message) =>
        message.result && times-- > 0 ? { jsonrpc: "2.0", id: message.id, error: busy } : message,
      );
      const watch = await client.watch([a]);
      await watch.until(a);
      assert.equal(line.asked("subscribe").length, 3);
      const wrong = await client.watch([a], "no_such_collection");
      await until("it is refused", () => wrong.refusals.length === 1);
      assert.deepEqual([wrong.refusals[0].code, wrong.refusals[0].reason], [-32003, "unknown_collection"]);
    },
  },
  {
    claim: "waits before attempts stay below their ceilings",
    rules: ["B1", "C5"],
    run: async ({ line, open }) => {
      const client = await open(line.url, { backoffBaseMs: 20, backoffCapMs: 60 });
      await client.until("open");
      await line.refuse();
      const waits = () => client.states.filter(({ status }) => status === "waiting").map(({ retryInMs }) => retryInMs);
      await until("some attempts have failed", () => waits().length >= 6);
      assert.ok(waits()[0] <= 20 && waits().every((wait) => wait >= 0 && wait <= 60), String(waits()));
      await line.accept();
      await client.until("open");
    },
  },
  {
    claim: "an attempt that nobody answers is given up",
    rules: ["C3", "C4"],
    run: async ({ server, open }) => {
      const line = await Proxy.to(server.address);
      const client = await open(line.ws, { ...QUICK, connectTimeoutMs: 100 });
      await client.until("open");
      line.stall();
      line.cut();
      await until("it has tried again and again", () => line.accepted >= 4);
      line.flow();
      await client.until("open");
      await line.close();
    },
  },
  {
    claim: "a line that fell silent is left, a quiet one is not",
    rules: ["H1", "H2"],
    run: async ({ server, open }) => {
      const line = await Proxy.to(server.address);
      const client = await open(line.ws, { ...QUICK, heartbeatMs: 100, heartbeatTimeoutMs: 300 });
      const watch = await client.watch([key("A")]);
      await until("the watch is live", () => watch.records.length === 1);
      const { received } = line;
      await until("several signs of life were asked for", () => line.received >= received + 3);
      assert.equal(line.accepted, 1);
      line.stall();
      await client.until("waiting");
      line.flow();
      line.cut();
      await client.until("open");
      await line.close();
    },
  },
  {
    claim: "a key is fresh from its first state until the server says otherwise",
    rules: ["F1", "F2"],
    run: async ({ line, open }) => {
      const [a, b, c] = [key("A"), key("B"), key("C")];
      const client = await open(line.url, QUICK);
      // What a server says that cannot prove the state.
      line.edit((message) => {
        if (message.params?.result?.key === c) message.params.result.stale_ms = 5_000;
        return message;
      });
      const watch = await client.watch([a, b, c]);
      await Promise.all([watch.becomes(a, true), watch.becomes(b, true)]);
      assert.ok((await watch.becomes(c, false)).ageMs >= 5_000);
      assert.equal((await client.freshness([a, b])).isFresh, true);
      const [{ subscription }] = line.pushed(a);
      const tell = (fresh, age_ms) =>
        line.say({ method: "freshet_freshness", params: { fresh, age_ms, subscriptions: [subscription] } });
      tell(false, 3_120);
      assert.ok((await watch.becomes(a, false)).ageMs >= 3_120);
      // A state that comes meanwhile proves nothing by itself.
      await client.put(a, product(1));
      await watch.until(a, ({ value }) => value?.price === 1);
      assert.deepEqual([watch.changes.at(-1).key, watch.changes.at(-1).isFresh], [a, false]);
      tell(true, 12);
      await watch.becomes(a, true);
      assert.equal(watch.changes.filter((change) => change.key === b).length, 1, "the others are told nothing");
    },
  },
  {
    claim: "a lost connection proves nothing, and a key that is resumed is fresh again though no state comes",
    rules: ["F3"],
    run: async ({ line, open }) => {
      const a = key("A");
      const client = await open(line.url, QUICK);
      await client.put(a, product(1));
      const watch = await client.watch([a]);
      await watch.becomes(a, true);
      await line.refuse();
      assert.ok((await watch.becomes(a, false)).ageMs >= 0);
      await line.accept();
      await watch.becomes(a, true);
      assert.equal(watch.records.length, 1);
    },
  },
  {
    claim: "a client that is closed says what became of what still waited",
    rules: ["R8", "C5"],
    run: async ({ line, open }) => {
      const client = await open(line.url, QUICK);
      await client.until("open");
      line.hold();
      const [read, write] = [client.get("A"), client.put("A", product(1))];
      await Promise.all([line.untilAsked("get"), line.untilAsked("put")]);
      await client.close();
      assert.deepEqual([(await failed(read)).reason, (await failed(write)).reason], ["closed", "outcome_unknown"]);
      await client.until("closed");
      line.flow();
    },
  },
];
