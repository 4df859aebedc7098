// JSON Schemas out of the documents in docs/, to hold real messages against.

import { readFile } from "node:fs/promises";

import Ajv from "ajv";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { parse } from "yaml";

const folder = new URL("../../../docs/", import.meta.url);

/** A document of docs/, parsed. */
export async function document(name) {
  return parse(await readFile(new URL(name, folder), "utf8"));
}

/** The version in Cargo.toml. */
export async function version() {
  return /^version = "(.*)"$/m.exec(await readFile(new URL("../Cargo.toml", folder), "utf8"))[1];
}

/**
 * A validator for each schema of `documents`, which maps their names to them; they may refer to each other. `dialect` is
 * "draft-07" or "2020-12". The answered function takes a reference such as `openrpc.json#/components/schemas/Record`,
 * and answers a function that throws with every way in which a value is not as that schema says.
 */
export function schemas(documents, dialect) {
  const Validator = dialect === "2020-12" ? Ajv2020.default : Ajv.default;
  const ajv = addFormats.default(new Validator({ strict: false, allErrors: true }));
  for (const [name, content] of Object.entries(documents)) ajv.addSchema(closed(content), name);
  return (reference) => {
    const validate = ajv.getSchema(reference);
    if (!validate) throw new Error(`there is no ${reference}`);
    return (value) => {
      if (validate(value)) return;
      throw new Error(`not as ${reference}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value, null, 1)}`);
    };
  };
}

/** `#/a/b` of a document, whose parts may hold slashes. */
export function pointer(...parts) {
  const escaped = parts.map((part) => String(part).replaceAll("~", "~0").replaceAll("/", "~1"));
  return `#/${escaped.map(encodeURIComponent).join("/")}`;
}

// Clients must expect members that they do not know; the server must not send any that the documents do not name.
function closed(node) {
  if (Array.isArray(node)) return node.map(closed);
  if (node === null || typeof node !== "object") return node;
  const copy = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, closed(value)]));
  const lists = node.type === "object" && node.properties !== undefined;
  return lists && node.additionalProperties === undefined ? { ...copy, additionalProperties: false } : copy;
}
