#!/usr/bin/env node
// Writes TypeScript types of a server's collections: `npx freshet-types 127.0.0.1:8080 products orders > schema.ts`.

import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { declarations } from "../dist/declarations.js";
import { httpAddress } from "../dist/options.js";

const USAGE = `freshet-types: writes TypeScript types of a Freshet server's collections, as the node read them at its start

usage: freshet-types URL COLLECTION... [--out FILE]

  URL         where the node is: 127.0.0.1:8080, https://shop.example, ws://...
  COLLECTION  the name of a tracked table
  --out FILE  writes the module there; to standard output unless given
`;

class Problem extends Error {}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  const [url, ...collections] = positionals;
  if (values.help) process.stdout.write(USAGE);
  else if (url === undefined) throw new Problem("give the node's URL, such as 127.0.0.1:8080, and the collections' names");
  else if (collections.length === 0) throw new Problem("give the names of the collections, such as products");
  else await write(url, collections, values.out);
} catch (error) {
  const isMeant = error instanceof Problem || error instanceof TypeError;
  process.stderr.write(`freshet-types: ${isMeant ? error.message : error.stack}\n`);
  process.exitCode = isMeant ? 2 : 1;
}

async function write(url, collections, out) {
  const base = httpAddress(url);
  const descriptions = await describe(base, collections);
  const text = declarations(descriptions, base);
  if (out === undefined) process.stdout.write(text);
  else await writeFile(out, text);
}

async function describe(base, collections) {
  const batch = collections.map((collection, id) => ({ jsonrpc: "2.0", id, method: "describe", params: { collection } }));
  const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(batch) };
  const response = await fetch(`${base}/v1/rpc`, request).catch((error) => {
    throw new Problem(`no answer from ${base}: ${error.cause?.message ?? error.message}`);
  });
  const answers = await response.json().catch(() => {
    throw new Problem(`${base} answers ${response.status}, and no JSON: is it a Freshet node?`);
  });
  if (!Array.isArray(answers)) throw new Problem(`${base}: ${answers?.error?.message ?? `it answers ${response.status}`}`);
  return answers.map(({ result, error }, at) => {
    if (error) throw new Problem(`${collections[at]}: ${error.message}`);
    const [column] = result.columns;
    if (column && column.type === undefined) throw new Problem(`${base} does not tell the types of columns: it needs a newer Freshet`);
    return result;
  });
}
