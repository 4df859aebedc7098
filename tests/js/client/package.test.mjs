// The package as npm would publish it: what is in it, that it resolves everywhere, and that its types say what they should.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

import { Server } from "../server.mjs";

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const source = join(repository, "clients/typescript");
// Where the repository's files are for readers of the package.
const PUBLIC = "https://github.com/freshet/freshet/blob/main/";

let folder;
let tarball;
let installed;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "freshet-js-"));
  // Scripts would build anew what other suites read.
  const { stdout } = await run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: source });
  const [{ filename }] = JSON.parse(stdout);
  tarball = await readFile(join(folder, filename));
  installed = join(folder, "node_modules/freshet");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, filename), "-C", installed, "--strip-components=1"]);
  for (const types of ["@types", "csstype"]) await symlink(join(source, "node_modules", types), join(folder, "node_modules", types));
});
after(() => rm(folder, { recursive: true, force: true }));

test("publint has nothing to say of it", async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, strict: true, pack: false });
  assert.deepEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), []);
});

test("its types are found by everything that can load an ES module", async () => {
  const { problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  // The profile of `.attw.json`, "esm-only": the package holds no CommonJS, and readers older than `exports` cannot load it.
  const found = problems.filter(({ resolutionKind }) => resolutionKind !== "node10" && resolutionKind !== "node16-cjs");
  assert.deepEqual(found, []);
});

test("every source map leads to a source in the package", async () => {
  const files = await readdir(join(installed, "dist"), { recursive: true });
  const maps = files.filter((file) => file.endsWith(".map"));
  assert.ok(maps.length > 30, `${maps.length} maps`);
  for (const map of maps) {
    const path = join(installed, "dist", map);
    const { sources, sourceRoot = "" } = JSON.parse(await readFile(path, "utf8"));
    for (const each of sources) await access(join(dirname(path), sourceRoot, each));
  }
});

test("it has its licences, and every link of its README can be followed from npm", async () => {
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) {
    const [ours, theirs] = await Promise.all([join(installed, name), join(repository, name)].map((path) => readFile(path, "utf8")));
    assert.equal(ours, theirs);
  }
  const text = await readFile(join(installed, "README.md"), "utf8");
  const links = [...text.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link);
  assert.ok(links.length >= 3);
  for (const link of links) {
    assert.ok(link.startsWith(PUBLIC), `${link} begins with ${PUBLIC}`);
    const [path, anchor] = link.slice(PUBLIC.length).split("#");
    const target = await readFile(join(repository, path), "utf8");
    const headings = target.split("\n").filter((line) => line.startsWith("#"));
    const anchors = headings.map((line) => line.replace(/^#+ /, "").toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-"));
    assert.ok(anchor === undefined || anchors.includes(anchor), `${path} has a heading ${anchor}`);
  }
});

test("the rows of a schema are known by collection, and what is none of it is refused", async () => {
  await compile("typed.tsx", TYPED);
});

test("freshet-types writes the types of the server's tables, which a program compiles with", async () => {
  const server = await Server.start();
  try {
    const command = join(installed, "bin/freshet-types.mjs");
    const { stdout } = await run(process.execPath, [command, server.address, "products"]);
    await writeFile(join(folder, "schema.ts"), stdout);
    for (const line of ["sku: string; // the key", "price: number;", "attributes: unknown; // json", "products: Products;"]) {
      assert.ok(stdout.includes(line), `${line} is in\n${stdout}`);
    }
    await compile("generated.ts", GENERATED);
    const failed = async (...given) => (await run(process.execPath, [command, ...given]).catch((error) => error)).stderr;
    assert.match(await failed(), /give the node's URL/);
    assert.match(await failed(server.address), /names of the collections/);
    assert.match(await failed(server.url, "orders"), /^freshet-types: orders: .*collection/);
    assert.match(await failed(`${server.address}0`, "orders"), /is no URL|no answer from/);
  } finally {
    await server.remove();
  }
});

async function compile(name, text) {
  await writeFile(join(folder, name), text);
  const options = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext", "--jsx", "react-jsx", "--types", "react"];
  const given = [join(source, "node_modules/typescript/bin/tsc"), "--ignoreConfig", ...options, name];
  await run(process.execPath, given, { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
}

const GENERATED = `
import { Client } from "freshet";
import type { Schema } from "./schema.js";
const client = new Client<Schema>("shop");
client.get("products", "A").then(({ value }) => value?.price.toFixed(2));
// @ts-expect-error
client.get("orders", "A");
`;

const TYPED = `
import { Client, type RecordState } from "freshet";
import { hooks, FreshetProvider, useRecord } from "freshet/react";

interface Product { sku: string; name: string; price: number; note: string | null; attributes: { size?: number; tags: string[] } }
interface Schema { products: Product; orders: { id: number } }

const client = new Client<Schema>("wss://shop.example");
const free = new Client("wss://shop.example");

export async function calls() {
  const { value } = await client.get("products", "A");
  value?.price.toFixed(2);
  // @ts-expect-error no such collection
  await client.get("prodcts", "A");
  // @ts-expect-error no such member
  value?.prize;
  const [order] = await client.getMany("orders", ["1"]);
  order?.value?.id.toFixed();
  for await (const { value } of client.list("orders", { limit: 3 })) value.id.toFixed();
  for await (const { value } of free.list<Product>("products")) value.price.toFixed(2);
  // @ts-expect-error no such collection
  client.list("prodcts");
  await client.put("products", "A", { name: "a lamp" });
  // @ts-expect-error a number is wanted
  await client.put("products", "A", { price: "2" });
  await client.patch("products", "A", { merge: { note: null, attributes: { size: 3 } }, increment: { price: 1 } });
  // @ts-expect-error no number
  await client.patch("products", "A", { increment: { name: 1 } });
  const patched = await client.patch("products", "A", { merge: { price: 2 } }, { returns: true });
  patched.value?.price.toFixed(2);
  client.watch("products", "A", ({ value }) => value?.price.toFixed(2), { onFreshness: ({ isFresh }) => isFresh });
  // @ts-expect-error no such collection
  client.watch("prodcts", "A", () => {});
  for await (const { key, value } of client.watch("products", ["A"])) key.slice(), value?.price.toFixed(2);
  using watch = client.watch("orders", "1");
  watch.state("1")?.value?.id.toFixed();
  await using other = new Client("shop");
  other.close();

  const own = await free.get<Product>("products", "A");
  own.value?.price.toFixed(2);
  const text = await free.get<string>("products", "A");
  text.value?.length;
  const unknown: RecordState<unknown> = await free.get("anything", "A");
  await free.patch("anything", unknown.key, { merge: { a: 1 }, increment: { b: 2 } });
  free.watch<Product>("products", "A", ({ value }) => value?.price.toFixed(2));
}

const typed = hooks<Schema>();

export function Price({ sku, initial }: { sku: string | null; initial?: RecordState<Product> }) {
  const { record, isLive, isStale } = typed.useRecord("products", sku, { initial });
  const all = typed.useRecords("orders", ["1"]).map(({ record }) => record?.value?.id.toFixed());
  const { patch, isPending } = typed.useMutation("products", sku);
  patch({ increment: { price: 1 } }, { optimistic: (value) => value && { ...value, price: value.price + 1 } });
  // @ts-expect-error no such collection
  typed.useRecord("prodcts", sku);
  const plain = useRecord<Product>("products", sku);
  return <FreshetProvider client={client}>{record?.value?.price}{all}{String(isLive || isStale || isPending)}{plain.record?.value?.name}</FreshetProvider>;
}
`;
