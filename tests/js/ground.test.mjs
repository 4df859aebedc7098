// The ground itself: a server that a suite starts, ends and starts again, and the line to it.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { Proxy } from "./proxy.mjs";
import { Server } from "./server.mjs";

test("a server that was killed is started again at its address with its data", async () => {
  const server = await Server.start();
  after(() => server.remove());
  const written = await server.call("put", { collection: "products", key: "A", value: { name: "a", price: 1 } });
  const { address } = server;
  await server.kill();
  await server.restart();
  const read = await server.call("get", { collection: "products", key: "A" });
  assert.deepEqual([server.address, read.stamp], [address, written.stamp]);
  assert.equal(await server.sql("SELECT name FROM products WHERE sku = 'A'"), "a");
  assert.equal(await server.stop(), 0);
});

test("a server that cannot start says why", async () => {
  await assert.rejects(Server.start({ memory: true, args: ["--no-such-option"] }), /no-such-option/);
});

test("a line refuses, takes and cuts connections", async () => {
  const server = await Server.start({ memory: true });
  const line = await Proxy.to(server.address);
  after(() => Promise.all([server.remove(), line.close()]));
  const get = () => fetch(`http://${line.address}/v1/products/A`, { headers: { connection: "close" } });
  assert.equal((await get()).status, 404);
  await line.refuse();
  await assert.rejects(get());
  await line.accept();
  assert.equal((await get()).status, 404);
  line.stall();
  const unanswered = get();
  await assert.rejects(
    Promise.race([unanswered, new Promise((_, fail) => setTimeout(fail, 100, new Error("silence")))]),
  );
  line.cut();
  await assert.rejects(unanswered);
});
