// docs/openapi.json, which is served at /openapi.json: valid by OpenAPI's own schema, and true of the server. Each
// answer is held against what the document says of its path, method and status: body, media type, and every header.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { Validator } from "@seriousme/openapi-schema-validator";

import { Server } from "../server.mjs";
import { document, pointer, schemas, version } from "./schemas.mjs";

const openapi = await document("openapi.json");
const openrpc = await document("openrpc.json");
const follows = schemas({ "openapi.json": openapi }, "2020-12");

// What no request to a node in good health brings about, or only a table that others refer to.
const isUnprovoked = (answer) => /^\S+ \S+ (500|504)$|^delete \S+ 422$|^head \S+ 503$/.test(answer);
// What is there for a reason that its description names.
const OCCASIONAL = [
  "Freshet-Stale-Ms",
  "Preference-Applied",
  "Retry-After",
  "Sec-WebSocket-Protocol",
  "X-Accel-Buffering",
];
// HTTP's own, which documents need not name.
const OF_HTTP = [
  "allow",
  "connection",
  "content-length",
  "content-type",
  "date",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
];

const ITEM = "/v1/products/a";
const TEA = JSON.stringify({ name: "tea", price: 295, stock: 41 });
const JSON_BODY = { "content-type": "application/json" };
const HANDSHAKE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
const met = new Set();
let server;

before(async () => {
  // A limit that can be met, and one socket for each answer that is looked at.
  server = await Server.start({ memory: true, config: '[gateway]\nbody_limit = "300ms"\nconnections_max = 64\n' });
});
after(() => server.remove());

test("the document is valid by OpenAPI's schema", async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(openapi));
  assert.ok(valid, JSON.stringify(errors));
});

test("it is what is served, at the version of the program", async () => {
  const { body } = await ask("GET", "/openapi.json");
  assert.ok(isDeepStrictEqual(JSON.parse(body), openapi), "the program was built with another one");
  assert.equal(openapi.info.version, await version());
});

test("what both documents describe they describe alike", () => {
  for (const [name, schema] of Object.entries(openapi.components.schemas)) {
    const other = openrpc.components.schemas[name];
    // The value that a patch returns is a body of its own in HTTP.
    if (other && name !== "Written")
      assert.deepEqual({ ...schema, examples: undefined }, { ...other, examples: undefined });
  }
});

test("reads are answered as it says", async () => {
  const put = await expect(201, "PUT", ITEM, JSON_BODY, TEA);
  const etag = put.headers.etag;
  for (const method of ["GET", "HEAD"]) {
    await expect(200, method, `${ITEM}?max_stale_ms=1000`);
    await expect(304, method, ITEM, { "if-none-match": etag });
    await expect(404, method, "/v1/products/absent");
    await expect(404, method, "/v1/nothing/a");
    await expect(400, method, `${ITEM}?colour=green`);
  }
  const batch = "/v1/products?key=a&key=absent";
  const { headers } = await expect(200, "GET", batch);
  await expect(304, "GET", batch, { "if-none-match": headers.etag });
  const page = await expect(200, "GET", "/v1/products?prefix=a&limit=1");
  await expect(304, "GET", "/v1/products?prefix=a&limit=1", { "if-none-match": page.headers.etag });
  await expect(400, "GET", "/v1/products?limit=0");
  await expect(413, "GET", "/v1/products?limit=1001");
  await expect(404, "GET", "/v1/nothing?key=a");
  await expect(413, "GET", `/v1/products?${"key=a&".repeat(1_001)}`);
});

test("writes are answered as it says", async () => {
  const stranger = { ...JSON_BODY, origin: "https://stranger.example" };
  for (const [method, body] of [["PUT", TEA], ["PATCH", '{"stock":7}'], ["DELETE"]]) {
    await expect(200, method, ITEM, JSON_BODY, body);
    await expect(400, method, ITEM, { ...JSON_BODY, "if-match": "unquoted" }, body);
    await expect(403, method, ITEM, stranger, body);
    await expect(404, method, "/v1/nothing/a", JSON_BODY, body);
    await expect(412, method, ITEM, { ...JSON_BODY, "if-match": '"1.1"' }, body);
    if (body === undefined) continue;
    const { headers } = await expect(200, method, ITEM, { ...JSON_BODY, prefer: "return=representation" }, body);
    assert.equal(headers["preference-applied"], "return=representation");
    await expect(408, method, ITEM, { ...JSON_BODY, "content-length": 100 }, body);
    await expect(413, method, ITEM, JSON_BODY, `{"name":"${"x".repeat(2_100_000)}"}`);
    await expect(415, method, ITEM, { "content-type": "text/plain" }, body);
    await expect(422, method, ITEM, JSON_BODY, '{"colour":"green"}');
  }
  await expect(201, "PUT", "/v1/products/b", { ...JSON_BODY, prefer: "return=representation" }, TEA);
});

test("calls are answered as it says", async () => {
  const get = { jsonrpc: "2.0", id: 1, method: "get", params: ["products", "b"] };
  const refused = { ...get, id: "two", method: "nothing" };
  const silent = { ...get, id: undefined };
  for (const body of [get, refused, [get, refused, silent], 7]) {
    const answer = await expect(200, "POST", "/v1/rpc", JSON_BODY, JSON.stringify(body));
    assert.equal(Array.isArray(JSON.parse(answer.body)), Array.isArray(body));
  }
  await expect(204, "POST", "/v1/rpc", JSON_BODY, JSON.stringify(silent));
  await expect(400, "POST", "/v1/rpc", JSON_BODY, Buffer.from([0xff]));
  await expect(403, "POST", "/v1/rpc", { ...JSON_BODY, origin: "https://stranger.example" }, JSON.stringify(get));
  await expect(408, "POST", "/v1/rpc", { ...JSON_BODY, "content-length": 100 }, "{");
  await expect(413, "POST", "/v1/rpc", JSON_BODY, " ".repeat(2_100_000));
  await expect(415, "POST", "/v1/rpc", {}, JSON.stringify(get));
});

test("streams, sockets and documents are answered as it says", async () => {
  const events = `${ITEM}/events`;
  await expect(200, "GET", events);
  await expect(200, "GET", "/v1/products?key=a", { accept: "text/event-stream" });
  await expect(400, "GET", events, { "last-event-id": "none" });
  await expect(404, "GET", "/v1/nothing/a/events");
  await expect(413, "GET", `${events}?${"key=a&".repeat(100)}`);
  await expect(101, "GET", "/v1/ws", HANDSHAKE);
  await expect(101, "GET", "/v1/ws", { ...HANDSHAKE, "sec-websocket-protocol": "freshet.v1" });
  await expect(400, "GET", "/v1/ws", { ...HANDSHAKE, "sec-websocket-key": "short" });
  await expect(403, "GET", "/v1/ws", { ...HANDSHAKE, origin: "https://stranger.example" });
  await expect(426, "GET", "/v1/ws");
  await expect(426, "GET", "/v1/ws", { ...HANDSHAKE, "sec-websocket-version": "8" });
  for (const document of ["/openapi.json", "/freshet.js"]) {
    const { headers } = await expect(200, "GET", document);
    await expect(304, "GET", document, { "if-none-match": headers.etag });
    await expect(400, "GET", document, { "if-none-match": "unquoted" });
  }
});

test("another host's requests are answered as it says, whatever is asked", async () => {
  for (const [template, methods] of Object.entries(openapi.paths)) {
    const path = template.replace("{collection}", "products").replace("{key}", "a");
    for (const method of Object.keys(methods).filter((name) => name !== "parameters")) {
      await expect(421, method.toUpperCase(), path, { host: "stranger.example" });
    }
  }
});

test("a full node answers as it says, whatever is asked", async () => {
  const [host, port] = server.address.split(":");
  const idle = Array.from({ length: 64 }, () => connect(Number(port), host));
  await Promise.all(idle.map((socket) => once(socket, "connect")));
  for (const [template, methods] of Object.entries(openapi.paths)) {
    const path = template.replace("{collection}", "products").replace("{key}", "a");
    // A full node answers before it has read what it is asked, so a HEAD gets a body.
    for (const method of Object.keys(methods).filter((name) => !["parameters", "head"].includes(name))) {
      await expect(503, method.toUpperCase(), path);
    }
  }
  for (const socket of idle) socket.destroy();
});

test("every answer that it promises was met", () => {
  const promised = Object.entries(openapi.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => method !== "parameters")
      .flatMap(([method, { responses }]) => Object.keys(responses).map((status) => `${method} ${path} ${status}`)),
  );
  assert.deepEqual(
    promised.filter((answer) => !met.has(answer) && !isUnprovoked(answer)),
    [],
  );
});

/** Asks, and holds the answer against the document. */
async function expect(status, method, path, headers = {}, body = undefined) {
  const answer = await ask(method, path, headers, body);
  const what = `${method} ${path.slice(0, 60)} ${JSON.stringify(headers)}: ${answer.body.slice(0, 200)}`;
  assert.equal(answer.status, status, what);
  const template = templateOf(path.split("?")[0]);
  const place = ["paths", template, method.toLowerCase(), "responses", String(status)];
  const [response, at] = dereference(place);
  met.add(`${method.toLowerCase()} ${template} ${status}`);
  checkHeaders(answer, response, at, what);
  if (method !== "HEAD") checkBody(answer, response, at, what);
  return answer;
}

function checkHeaders(answer, response, at, what) {
  const described = response.headers ?? {};
  const isError = answer.body.startsWith('{"error"') || answer.headers["cache-control"] === "no-store";
  for (const name of Object.keys(described)) {
    const [header, place] = dereference([...at, "headers", name]);
    const value = answer.headers[name.toLowerCase()];
    if (value === undefined) assert.ok(isError || isStream(answer) || OCCASIONAL.includes(name), `${what}: no ${name}`);
    else
      follows(`openapi.json${pointer(...place, "schema")}`)(header.schema.type === "integer" ? Number(value) : value);
  }
  const known = [...OF_HTTP, ...Object.keys(described).map((name) => name.toLowerCase())];
  assert.deepEqual(
    Object.keys(answer.headers).filter((name) => !known.includes(name)),
    [],
    `${what}: not described`,
  );
}

function checkBody(answer, response, at, what) {
  const media = answer.headers["content-type"];
  if (response.content === undefined) return assert.deepEqual([answer.body, media], ["", undefined], what);
  assert.ok(media in response.content, `${what}: ${media}`);
  const body = media === "application/json" ? JSON.parse(answer.body) : answer.body;
  follows(`openapi.json${pointer(...at, "content", media, "schema")}`)(body);
}

/** The part of the document at a place, and where it truly is. */
function dereference(place) {
  const part = place.reduce((node, name) => node?.[name], openapi);
  assert.ok(part, `the document has no ${place.join(" ")}`);
  return part.$ref ? dereference(part.$ref.split("/").slice(1)) : [part, place];
}

function templateOf(path) {
  if (path in openapi.paths) return path;
  const shape = (text) =>
    text
      .split("/")
      .map((part, at) => (at >= 2 && part !== "events" ? "*" : part))
      .join("/");
  return Object.keys(openapi.paths).find((template) => template.includes("{") && shape(template) === shape(path));
}

function isStream({ headers }) {
  return headers["content-type"] === "text/event-stream";
}

/** One request on a connection of its own. Of a stream the first piece is the body; a shorter body than said waits. */
function ask(method, path, headers = {}, body = undefined) {
  return new Promise((resolve, reject) => {
    const asked = request(`${server.url}${path}`, { method, headers, agent: false });
    const answer = (response, text) => resolve({ status: response.statusCode, headers: response.headers, body: text });
    asked.on("error", reject);
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      answer(response, "");
    });
    asked.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("error", reject);
      response.on("data", (piece) => {
        text += piece;
        if (!isStream(response)) return;
        answer(response, text);
        asked.destroy();
      });
      response.on("end", () => answer(response, text));
    });
    const isWhole = headers["content-length"] === undefined;
    if (isWhole) asked.end(body);
    else asked.write(body);
  });
}
