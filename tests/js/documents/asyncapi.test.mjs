// docs/asyncapi.yaml: valid by AsyncAPI's own schema, and true of every frame and event of sessions that meet all of it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import asyncapiSchemas from "@asyncapi/specs";
import Ajv from "ajv";
import addFormats from "ajv-formats";
import WebSocket from "ws";

import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { document, pointer, schemas, version } from "./schemas.mjs";
import { Wire } from "./wire.mjs";

const [asyncapi, openrpc, openapi] = await Promise.all(["asyncapi.yaml", "openrpc.json", "openapi.json"].map(document));
const follows = schemas({ "asyncapi.yaml": asyncapi, "openrpc.json": openrpc, "openapi.json": openapi }, "draft-07");
const CONFIG = '[session]\nheartbeat_interval = "200ms"\nheartbeat_timeout = "100ms"\nmessage_max = "64KiB"\n';
// The generation is raised as by a restore from a backup.
const LOSE_HISTORY = `UPDATE feed.shard_state SET gen = gen + 1;
  SELECT setval('feed.vseq', nextval('feed.vseq') + 4294967296)`;
let server;

before(async () => {
  server = await Server.start({ config: CONFIG });
});
after(() => server.remove());

test("the document is valid by AsyncAPI's schema", () => {
  // It brings the schema of schemas along.
  const ajv = addFormats.default(
    new Ajv.default({ strict: false, allErrors: true, meta: false, validateSchema: false }),
  );
  assert.ok(ajv.validate(asyncapiSchemas.schemas[asyncapi.asyncapi], asyncapi), ajv.errorsText());
});

test("it has the version of the program, and the methods that OpenRPC describes", async () => {
  assert.equal(asyncapi.info.version, await version());
  const names = openrpc.methods.map(({ name }) => name);
  const prefixed = names.filter((name) => name !== "rpc.discover").map((name) => `freshet_${name}`);
  assert.deepEqual(asyncapi.components.schemas.Request.properties.method.enum, [...names, ...prefixed]);
});

test("what it refers to is there, and its examples are as its schemas say", () => {
  const operations = Object.values(asyncapi.operations);
  const references = operations.flatMap(({ channel, messages, reply }) => [
    channel,
    ...messages,
    ...(reply?.messages ?? []),
  ]);
  for (const { $ref } of references) assert.ok(resolve($ref), $ref);
  for (const [name, { examples = [] }] of Object.entries(asyncapi.components.messages)) {
    for (const { payload, headers } of examples) {
      messageOf(name)(payload);
      if (headers) messageOf(name, "headers")(headers);
    }
  }
});

test("every frame of a session is a message that it describes, and every message is met", async () => {
  const wire = await Wire.open(server.ws);
  const at = { collection: "products", key: "a" };
  await wire.call("put", { ...at, value: { name: "tea", price: 1, stock: 1 } });
  await wire.call("freshet_subscribe", ["products", ["a", "absent"]]);
  // Resumed, it gets no snapshot, and is told that it is fresh.
  const { stamp } = (await wire.call("patch", { ...at, increment: { stock: 1 } })).result;
  await wire.call("subscribe", ["products", ["a"], { a: stamp }]);
  await wire.heard("that it is fresh", ({ method }) => method === "freshet_freshness");
  await wire.call("freshness", ["products", ["a"]]);
  await wire.call("delete", { ...at, if_stamp: "1.1" });
  await wire.call("get_many", ["products", ["a"]]);
  await wire.call("rpc.discover");
  wire.send({ jsonrpc: "2.0", method: "put", params: { ...at, value: { name: "tea", price: 2 } } });
  wire.send([
    { jsonrpc: "2.0", id: "x", method: "get", params: ["products", "a"] },
    { jsonrpc: "2.0", id: null, method: "get" },
  ]);
  await wire.heard("the answers to a batch", Array.isArray);
  wire.raw("{");
  await wire.heard("an answer to what is no JSON", ({ id, error }) => id === null && error?.code === -32700);
  await server.sql(LOSE_HISTORY);
  await wire.heard("a reset", ({ params }) => params?.result?.reset === true);
  await server.stop();
  await wire.heard("a drain", ({ method }) => method === "freshet_drain");
  await until("the end", () => wire.code);
  assert.equal(wire.code, 1001);

  const met = new Set();
  const { receive, send } = directions();
  for (const [frames, names] of [
    [wire.sent, receive],
    [wire.received, send],
  ]) {
    for (const frame of frames) {
      const matching = names.filter((name) => isValid(messageOf(name), frame));
      assert.equal(matching.length, 1, `${matching} for ${JSON.stringify(frame)}`);
      met.add(matching[0]);
    }
  }
  assert.deepEqual(
    [...receive, ...send].filter((name) => !met.has(name)),
    [],
  );
  await server.restart();
});

test("the server closes with the codes that it lists", async () => {
  const seen = new Set([1001]); // As above.
  for (const breach of [
    (socket) => socket.close(1000),
    (socket) => socket._socket.write(Buffer.from([0x8b, 0x80, 0, 0, 0, 0])), // An opcode that is reserved.
    (socket) => socket.send(Buffer.from("{}"), { binary: true }),
    (socket) => socket.send(Buffer.from([0xff]), { binary: false }),
    (socket) => socket.send(" ".repeat(70_000)),
    () => {}, // Neither a word nor a pong.
  ]) {
    const socket = new WebSocket(server.ws, { autoPong: false });
    await once(socket, "open");
    breach(socket);
    const [code] = await once(socket, "close");
    seen.add(code);
  }
  const listed = Object.keys(asyncapi.channels.socket["x-close-codes"]).map(Number);
  assert.deepEqual([...seen].sort(), listed);
});

test("every block of a stream is a message that it describes", async () => {
  const met = new Set();
  await server.call("put", { collection: "products", key: "s", value: { name: "tea", price: 1 } });
  const response = await fetch(`${server.url}/v1/products/s/events?key=absent`);
  let text = "";
  const read = (async () => {
    for await (const piece of response.body.pipeThrough(new TextDecoderStream())) text += piece;
  })();
  await until("the snapshots", () => text.split("\n\n").length > 3);
  await server.call("delete", { collection: "products", key: "s" });
  await until("a deletion", () => text.split("\n\n").length > 4);
  // Resumed where it is, the other key gets no snapshot, and is told that it is fresh.
  const { stamp } = await server.call("put", { collection: "products", key: "t", value: { name: "tea", price: 1 } });
  const resumed = await fetch(`${server.url}/v1/products/t/events`, { headers: { "last-event-id": stamp } });
  let first = "";
  for await (const piece of resumed.body.pipeThrough(new TextDecoderStream())) {
    first += piece;
    if (first.includes("event: freshness")) break;
  }
  await server.stop();
  await read;
  text = text.replace("\n\n", `\n\n${first.slice(first.indexOf("event:"))}`);
  const blocks = text.split("\n\n");
  assert.equal(blocks.pop(), "", "the stream ends with a whole block");
  for (const block of blocks) {
    const fields = Object.fromEntries(block.split("\n").map((line) => /^(\w+): (.*)$/.exec(line).slice(1)));
    if (fields.retry !== undefined) {
      messageOf("retry")(Number(fields.retry));
      met.add("retry");
    } else if (fields.event !== undefined) {
      messageOf("keysFreshness")(JSON.parse(fields.data));
      messageOf("keysFreshness", "headers")({ event: fields.event });
      met.add("keysFreshness");
    } else {
      messageOf("state")(JSON.parse(fields.data));
      messageOf("state", "headers")({ id: fields.id });
      met.add("state");
    }
  }
  assert.deepEqual([...met].sort(), Object.keys(asyncapi.channels.events.messages).sort());
  assert.ok(blocks[0].startsWith("retry:") && blocks.at(-1).startsWith("retry:"));
});

/** The names of the messages of the WebSocket that the server receives, and of those that it sends. */
function directions() {
  const names = (messages) => messages.map(({ $ref }) => $ref.split("/").at(-1));
  const ofSocket = Object.values(asyncapi.operations).filter(({ channel }) => channel.$ref === "#/channels/socket");
  const receiving = ofSocket.filter(({ action }) => action === "receive");
  const sending = ofSocket.filter(({ action }) => action === "send");
  return {
    receive: receiving.flatMap(({ messages }) => names(messages)),
    send: [
      ...receiving.flatMap(({ reply }) => names(reply.messages)),
      ...sending.flatMap(({ messages }) => names(messages)),
    ],
  };
}

function messageOf(name, part = "payload") {
  return follows(`asyncapi.yaml${pointer("components", "messages", name, part)}`);
}

function isValid(check, value) {
  try {
    check(value);
    return true;
  } catch {
    return false;
  }
}

function resolve(reference) {
  const part = reference
    .split("/")
    .slice(1)
    .reduce((node, name) => node?.[name], asyncapi);
  return part?.$ref ? resolve(part.$ref) : part;
}
