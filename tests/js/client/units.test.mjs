// What needs a clock, chance or odd texts rather than a server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, Client, compareStamps, idempotencyKey } from "../../../clients/typescript/dist/index.js";
import { elements, slice } from "../../../clients/typescript/dist/json.js";

const almostOne = () => 1 - Number.EPSILON;

test("waits have ceilings of 500 ms, doubled after each failure, up to 20 s (B1)", () => {
  const backoff = new Backoff(500, 20_000, almostOne);
  const ceilings = Array.from({ length: 9 }, () => Math.round(backoff.next()));
  assert.deepEqual(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]);
  backoff.reset();
  assert.equal(Math.round(backoff.next()), 500);
});

test("waits are drawn evenly from zero to the ceiling (B1)", () => {
  const waits = Array.from({ length: 20_000 }, () => new Backoff(500, 20_000).next());
  const tenths = Array.from({ length: 10 }, (_, n) => waits.filter((ms) => Math.floor(ms / 50) === n).length);
  // 2,000 in each are expected, with a standard deviation of 42.
  assert.ok(
    tenths.every((count) => Math.abs(count - 2_000) < 300),
    String(tenths),
  );
});

test("only a connection that lasted ends the row of failures (B2)", async () => {
  const { random } = Math;
  const { now } = Date;
  let ahead = 0;
  Math.random = almostOne;
  Date.now = () => now() + ahead;
  const waits = [];
  let socket;
  class Socket {
    constructor() {
      socket = this;
      queueMicrotask(() => this.onopen({}));
    }
    close() {}
  }
  try {
    const client = new Client("ws://nowhere", { WebSocket: Socket, backoffBaseMs: 4, backoffCapMs: 1_000 });
    const ended = new Promise((resolve) => {
      client.onState(({ status, retryInMs }) => {
        if (status === "waiting") waits.push(retryInMs);
        if (waits.length === 5) resolve();
        if (status !== "open") return;
        if (waits.length === 3) ahead += 5_000;
        queueMicrotask(() => socket.onclose({ code: 1013 }));
      });
    });
    await ended;
    client.close();
  } finally {
    Math.random = random;
    Date.now = now;
  }
  assert.deepEqual(waits, [4, 8, 16, 4, 8]);
});

test("stamps are ordered by generation, then by version (O1)", () => {
  const stamps = ["2.1", "1.10", "1.9", "10.0", "1.9007199254740990"];
  assert.deepEqual(stamps.sort(compareStamps), ["1.9", "1.10", "1.9007199254740990", "2.1", "10.0"]);
});

test("the texts of values are found in any sound JSON", () => {
  const text = String.raw`{ "a\"}" : [1, {"b":"]"}], "\u0078" : { "y" : 1.10 , "z":{"deep":[{}]} }, "n": 123456789012345678901 }`;
  assert.equal(slice(text, ["x", "y"]), "1.10");
  assert.equal(slice(text, ["x", "z"]), '{"deep":[{}]}');
  assert.equal(slice(text, ["n"]), "123456789012345678901");
  assert.equal(slice(text, ["x", "none"]), undefined);
  assert.deepEqual(elements(slice(text, ['a"}'])), ["1", '{"b":"]"}']);
  assert.deepEqual(elements(" [ ] "), []);
  assert.deepEqual(elements('["a,b" , null,-0.5e+3]'), ['"a,b"', "null", "-0.5e+3"]);
});

test("idempotency keys are new each time", () => {
  assert.equal(new Set(Array.from({ length: 1_000 }, idempotencyKey)).size, 1_000);
});

test("a client that cannot work says what is wrong", () => {
  class Socket {}
  assert.throws(() => new Client("ftp://shop", { WebSocket: Socket }), /ftp:\/\/shop .* wss:\/\//);
  for (const text of ["", "::1", "shop:eighty"]) assert.throws(() => new Client(text, { WebSocket: Socket }), /no URL/);
  assert.throws(() => new Client([], { WebSocket: Socket }), /at least one URL/);
  assert.throws(() => new Client("ws://shop", { WebSocket: Socket, heartbeatMs: 0 }), /heartbeatMs is 0/);
});

test("a URL may be written as people write addresses", () => {
  const made = [];
  class Socket {
    constructor(url) {
      made.push(url);
    }
    close() {}
  }
  const address = (url) => (new Client(url, { WebSocket: Socket }).close(), made.pop());
  const port = "ws://127.0.0.1:8080/v1/ws";
  for (const url of ["ws://127.0.0.1:8080", "http://127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080/v1/ws"]) assert.equal(address(url), port);
  assert.equal(address("localhost:8080"), "ws://localhost:8080/v1/ws");
  assert.equal(address("shop"), "ws://shop/v1/ws");
  assert.equal(address("[::1]:8080"), "ws://[::1]:8080/v1/ws");
  assert.equal(address("https://shop.example"), "wss://shop.example/v1/ws");
  assert.equal(address("wss://shop.example/live?token=1#part"), "wss://shop.example/live?token=1");
  globalThis.location = { href: "https://shop.example/products/1", protocol: "https:" };
  try {
    assert.equal(address("/v1/ws"), "wss://shop.example/v1/ws");
    assert.equal(address("other.example"), "wss://other.example/v1/ws");
    assert.equal(address("//other.example"), "wss://other.example/v1/ws");
  } finally {
    delete globalThis.location;
  }
});

test("where there is no WebSocket a client may be made, and says why it does nothing", async () => {
  const platform = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    const client = new Client("wss://shop.example");
    await assert.rejects(client.get("products", "A"), { reason: "closed", message: /options\.WebSocket/ });
    const refused = new Promise((resolve) => client.watch("products", "A", () => {}, { onError: resolve }));
    assert.match((await refused).message, /options\.WebSocket/);
    assert.equal(client.state.status, "closed");
  } finally {
    if (platform) globalThis.WebSocket = platform;
  }
  class Socket {}
  const client = new Client("/v1/ws", { WebSocket: Socket });
  await assert.rejects(client.get("products", "A"), { message: /no page here that \/v1\/ws could be of/ });
});
