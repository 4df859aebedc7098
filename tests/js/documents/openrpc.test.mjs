// docs/openrpc.json, which `rpc.discover` returns: valid by OpenRPC's own schema, and true of the server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";

import schemaOfSchemas from "@json-schema-tools/meta-schema";
import metaSchema from "@open-rpc/meta-schema";
import Ajv from "ajv";
import addFormats from "ajv-formats";

import { Server } from "../server.mjs";
import { document, pointer, schemas, version } from "./schemas.mjs";
import { Wire } from "./wire.mjs";

const openrpc = await document("openrpc.json");
const follows = schemas({ "openrpc.json": openrpc }, "draft-07");
const followsPart = (...parts) => follows(`openrpc.json${pointer(...parts)}`);
const at = { collection: "products", key: "a" };
const tea = { name: "tea", price: 295, stock: 41, attributes: { origin: "Assam" } };
let server, wire;

before(async () => {
  server = await Server.start({ memory: true });
  wire = await Wire.open(server.ws);
});
after(async () => {
  wire.close();
  await server.remove();
});

test("the document is valid by OpenRPC's schema", () => {
  // Both name a dialect of their own, which is draft 7.
  const { $schema: _, ...schema } = metaSchema.openrpcDocument;
  const { $schema: __, ...ofSchemas } = schemaOfSchemas.default;
  // It is referred to without its slash, too.
  const bare = { $id: "https://meta.json-schema.tools", $ref: ofSchemas.$id };
  const ajv = addFormats.default(new Ajv.default({ strict: false, schemas: [ofSchemas, bare] }));
  assert.ok(ajv.validate(schema, openrpc), ajv.errorsText());
});

test("rpc.discover returns it, by every door", async () => {
  for (const served of [(await wire.call("rpc.discover")).result, await server.call("rpc.discover", [])]) {
    assert.ok(isDeepStrictEqual(served, openrpc), "the program was built with another one");
  }
});

test("it lists the methods that the server knows, and no others", async () => {
  const { error } = await wire.call("nothing");
  const known = /there are (.*)$/.exec(error.message)[1].split(", ");
  assert.deepEqual(openrpc.methods.map(({ name }) => name).sort(), known.sort());
  for (const name of known.filter((name) => name !== "rpc.discover")) {
    assert.notEqual((await wire.call(`freshet_${name}`, [])).error?.code, -32601, name);
  }
});

test("it has the version of the program", async () => {
  assert.equal(openrpc.info.version, await version());
});

test("every method answers as it says, to parameters as it says, by name and by position", async () => {
  for (const [name, params] of [
    ["put", { ...at, value: tea, if_stamp: "0", idempotency_key: "once" }],
    ["get", { ...at, max_stale_ms: 1_000 }],
    ["get", { ...at, key: "absent", min_stamp: "0" }],
    ["get_many", { collection: "products", keys: ["a", "absent", "a"], min_stamp: null }],
    ["list", { collection: "products", prefix: "a", limit: 1, cursor: null }],
    ["patch", { ...at, value: { name: "green tea" }, increment: { stock: -1, price: 0.0 }, return: true }],
    ["patch", { ...at, increment: { stock: 1 } }],
    ["describe", { collection: "products" }],
    ["subscribe", { collection: "products", keys: ["a", "absent"], since: { a: "1.1" } }],
    ["subscribe", { collection: "products", keys: "a" }],
    ["freshness", { collection: "products", keys: ["a", "absent"] }],
    ["freshness", { collection: "products", keys: "a" }],
    ["unsubscribe", { id: "s1" }],
    ["unsubscribe", { id: "none" }],
    ["delete", { ...at }],
    ["delete", { ...at, idempotency_key: "twice" }],
    ["get", { ...at }],
  ]) {
    const method = described(name);
    for (const [position, { name: parameter }] of method.params.entries()) {
      if (params[parameter] !== undefined) parameterOf(name, position)(params[parameter]);
    }
    // The conditional put is the same request both times: its idempotency key names it.
    const inOrder = method.params.map((param) => params[param.name] ?? null);
    for (const given of [params, inOrder]) {
      const { result, error } = await wire.call(name, given);
      assert.equal(error, undefined, `${name} ${JSON.stringify(given)}: ${error?.message}`);
      followsPart("methods", place(name), "result", "schema")(result);
    }
  }
  assert.ok(wire.pushes.length >= 5);
  for (const { params } of wire.pushes) followsPart("components", "schemas", "Record")(params.result);
});

test("what it calls required is required, what it does not name is refused", async () => {
  const valid = { collection: "products", key: "b", keys: ["b"], value: tea, id: "s1" };
  for (const method of openrpc.methods) {
    const params = method.params.map(resolve);
    const required = Object.fromEntries(
      params.filter((param) => param.required).map(({ name }) => [name, valid[name]]),
    );
    if (method.name === "patch") required.increment = { stock: 0 };
    assert.equal((await wire.call(method.name, required)).error, undefined, method.name);
    for (const missing of params.filter((param) => param.required)) {
      const { error } = await wire.call(method.name, { ...required, [missing.name]: undefined });
      assert.equal(error?.data.reason, "invalid_params", `${method.name} without ${missing.name}`);
    }
    if (method.name === "rpc.discover") continue;
    const { error } = await wire.call(method.name, { ...required, unheard_of: 1 });
    assert.equal(error?.data.reason, "invalid_params", `${method.name} with a parameter that nobody knows`);
  }
});

test("errors are among those listed, and their data as it says", async () => {
  const { stamp } = (await wire.call("put", { ...at, value: tea })).result;
  for (const [name, params, listed] of [
    ["get", { ...at, collection: "nothing" }, "UnknownCollection"],
    ["get", { ...at, key: "\0" }, "InvalidKey"],
    ["get", { ...at, key: true }, "InvalidParams"],
    ["get_many", { collection: "products", keys: Array(1_001).fill("a") }, "TooLarge"],
    ["put", { ...at, value: { ...tea, stock: -1 } }, "InvalidValue"],
    ["put", { ...at, value: tea, if_stamp: "0" }, "VersionConflict"],
    ["put", { ...at, value: { name: "x".repeat(1_100_000) } }, "TooLarge"],
    ["patch", { ...at }, "InvalidParams"],
    ["patch", { ...at, value: { colour: "green" } }, "InvalidValue"],
    ["patch", { ...at, increment: { stock: 1 }, if_stamp: "1.1" }, "VersionConflict"],
    ["delete", { ...at, if_stamp: "1.1" }, "VersionConflict"],
    ["subscribe", { collection: "products", keys: [] }, "InvalidParams"],
    ["subscribe", { collection: "products", keys: Array.from({ length: 10_001 }, (_, n) => `k${n}`) }, "TooLarge"],
    ["freshness", { collection: "products", keys: [] }, "InvalidParams"],
    ["freshness", { collection: "products", keys: Array(1_001).fill("a") }, "TooLarge"],
    ["freshness", { subscription: "none" }, "InvalidParams"],
    ["unsubscribe", { id: 7 }, "InvalidParams"],
  ]) {
    const { error } = await wire.call(name, params);
    const what = `${name} ${JSON.stringify(params).slice(0, 80)}: ${JSON.stringify(error)}`;
    assert.equal(error?.code, openrpc.components.errors[listed].code, what);
    assert.ok(
      described(name).errors.some(({ $ref }) => $ref.endsWith(`/${listed}`)),
      `${name} does not list ${listed}`,
    );
    followsPart("components", "schemas", "ErrorData")(error.data);
    if (listed === "VersionConflict") assert.equal(error.data.stamp, stamp);
  }
});

test("its examples are as its schemas say", () => {
  for (const method of openrpc.methods) {
    for (const { params, result } of method.examples ?? []) {
      for (const { name, value } of params) {
        const position = method.params.map(resolve).findIndex((param) => param.name === name);
        parameterOf(method.name, position)(value);
      }
      followsPart("methods", place(method.name), "result", "schema")(result.value);
    }
  }
});

/** What holds a value against the schema of a method's parameter. */
function parameterOf(name, position) {
  const { $ref } = openrpc.methods[place(name)].params[position];
  return $ref
    ? follows(`openrpc.json${$ref}/schema`)
    : followsPart("methods", place(name), "params", position, "schema");
}

function place(name) {
  return openrpc.methods.findIndex((method) => method.name === name);
}

/** A method with its parameters in place of references to them. */
function described(name) {
  const method = openrpc.methods[place(name)];
  return { ...method, params: method.params.map(resolve) };
}

function resolve(part) {
  return part.$ref
    ? part.$ref
        .split("/")
        .slice(1)
        .reduce((node, name) => node[name], openrpc)
    : part;
}
