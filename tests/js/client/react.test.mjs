// The hooks of React, in a browser and where a server renders, against the real node.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runInThisContext } from "node:vm";

import WebSocket from "ws";

import { Client } from "../../../clients/typescript/dist/index.js";
import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { Line } from "./line.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const key = (name) => `${name}${Math.random().toString(36).slice(2, 8)}`;

let server;
let browser;
let script;
before(async () => {
  [server, browser, script] = await Promise.all([Server.start({ memory: true }), launch(), application()]);
});
after(() => Promise.all([server?.remove(), browser?.close()]));

const put = (sku, row) => server.call("put", { collection: "products", key: sku, value: { name: "a lamp", price: 1, ...row } });
const add = (sku, stock) => server.call("patch", { collection: "products", key: sku, increment: { stock } });

/** A page with the application on a line of its own. */
class Page {
  /** What React, or the page's scripts, complained of. */
  complaints = [];

  static async open(t, { html = "", options = {} } = {}) {
    const line = await Line.to(server.ws);
    const page = new Page(await browser.newPage(), line);
    page.window.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
    page.window.on("pageerror", (error) => page.complaints.push(String(error)));
    t.after(async () => {
      await page.window.close();
      await line.refuse();
    });
    await page.window.setContent(`<div id="root">${html}</div>`);
    await page.window.addScriptTag({ content: script });
    await page.run((url, options) => void globalThis.start(url, options), line.url, options);
    return page;
  }

  constructor(window, line) {
    this.window = window;
    this.line = line;
  }

  run(act, ...given) {
    return this.window.evaluate(`(${act})(...${JSON.stringify(given)})`);
  }

  show(parts, options) {
    return this.run((parts, options) => void globalThis.show(parts, options), parts, options ?? {});
  }

  async shows(text) {
    const read = () => this.window.textContent("#root");
    const matches = (found) => (text instanceof RegExp ? text.test(found) : found === text);
    await until(`the page shows ${text}`, async () => matches(await read())).catch(async (error) => {
      throw new Error(`${error.message}; it shows ${JSON.stringify(await read())}`);
    });
  }

  /** Every text shown since the last call. */
  shown() {
    return this.run(() => globalThis.shown.splice(0));
  }

  /** Starts a write of the component `stock`; its outcome is what `settled` waits for. */
  patch(sku, change, options = {}) {
    return this.run(
      (sku, change, options) => {
        const done = (word) => (globalThis.outcomes ??= []).push(word);
        globalThis.mutations[sku].patch(change, options).then(
          () => done("done"),
          (error) => done(error.reason),
        );
      },
      sku,
      change,
      options,
    );
  }

  settled(count) {
    return until(`${count} writes have ended`, async () => {
      const outcomes = await this.run(() => globalThis.outcomes ?? []);
      return outcomes.length >= count && outcomes;
    });
  }
}

test("components that use one record share a subscription and show each newer state of it", async (t) => {
  const [a, b] = [key("A"), key("B")];
  await put(a, { price: 1 });
  const page = await Page.open(t, { options: { lingerMs: 20 } });
  const { line } = page;
  await page.show([["connection"], ["price", { sku: a }], ["price", { sku: a }], ["price", { sku: b }]]);
  await page.shows(`open ${a}:1 ${a}:1 ${b}:none `);
  assert.equal(line.asked("subscribe").length, 2, "StrictMode's second mount included");
  await put(b, { price: 7 });
  await page.shows(`open ${a}:1 ${a}:1 ${b}:7 `);
  await page.show([["connection"], ["price", { sku: b }, 3]]);
  await page.shows(`open ${b}:7 `);
  await line.untilAsked("unsubscribe");
  await line.refuse();
  await page.shows(new RegExp(`^(waiting|connecting) ${b}:7\\?! $`));
  await line.accept();
  await page.shows(`open ${b}:7 `);
  await page.show([["connection"], ["price", { sku: b, collection: "no_such_collection" }]]);
  await page.shows(`open ${b}:unknown_collection `);
});

test("a key that is on the screen already is there at once when another component turns to it", async (t) => {
  const [a, b] = [key("A"), key("B")];
  await Promise.all([put(a, { price: 1 }), put(b, { price: 2 })]);
  const page = await Page.open(t);
  const list = ["list", { skus: [a, b] }, "list"];
  await page.show([list, ["detail", { sku: a }, "detail"]]);
  await page.shows(`1,2[${a}=1*] `);
  await page.shown();
  await page.show([list, ["detail", { sku: b }, "detail"]]);
  await page.shows(`1,2[${b}=2*] `);
  assert.deepEqual(await page.shown(), [`1,2[${b}=2*] `], "nothing else was shown in between");
  await page.show([list, ["detail", { sku: null }, "detail"]]);
  await page.shows("1,2[null=...] ");
  assert.equal(page.line.asked("subscribe").length, 2);
});

test("a list that is toggled sends nothing, and one that is left ends in one frame", async (t) => {
  const skus = Array.from({ length: 30 }, () => key("L"));
  const page = await Page.open(t);
  const list = ["list", { skus }];
  await page.show([list]);
  await page.shows(skus.map(() => "none").join(","));
  assert.deepEqual([page.line.asked("subscribe").length, page.line.framesOf("subscribe")], [30, 1]);
  await page.shown();
  for (let n = 0; n < 3; n += 1) {
    await page.show([]);
    await page.shows("");
    await page.show([list]);
    await page.shows(skus.map(() => "none").join(","));
  }
  assert.ok((await page.shown()).every((text) => !text.includes("...")), "it is never loading again");
  assert.equal(page.line.asked().length, 30, "and nothing was sent");

  const brief = await Page.open(t, { options: { lingerMs: 20 } });
  await brief.show([list]);
  await brief.shows(skus.map(() => "none").join(","));
  await brief.show([]);
  await brief.line.untilAsked("unsubscribe", 30);
  assert.equal(brief.line.framesOf("unsubscribe"), 1);
});

test("a list follows its keys, and those that stay are not asked for again", async (t) => {
  const [a, b, c] = [key("A"), key("B"), key("C")];
  await Promise.all([a, b, c].map((sku, at) => put(sku, { price: at + 1 })));
  const page = await Page.open(t);
  await page.show([["list", { skus: [a, b] }]]);
  await page.shows("1,2");
  await page.show([["list", { skus: [c, b, a, b] }]]);
  await page.shows("3,2,1,2");
  await put(b, { price: 9 });
  await page.shows("3,9,1,9");
  assert.equal(page.line.asked("subscribe").length, 3);
});

test("a page goes on from what a server rendered, and nothing older or less is shown", async (t) => {
  const sku = key("S");
  await put(sku, { price: 1 });
  const rendering = new Client(server.url, { WebSocket });
  const initial = await rendering.get("products", sku);
  rendering.close();
  const parts = [["connection"], ["price", { sku, initial }], ["price", { sku: key("none") }]];
  const html = await rendered(parts);
  assert.match(html, new RegExp(`connecting .*${sku}:1\\? .*:\\.\\.\\.\\? `));

  const page = await Page.open(t, { html });
  await page.run((parts) => void globalThis.hydrate(parts), parts);
  await page.shows(new RegExp(`^open ${sku}:1 .*:none $`));
  const [first] = page.line.asked("subscribe");
  assert.equal(first.params.since[sku], initial.stamp, "it resumes from the rendered state");
  assert.equal(page.line.pushed(sku).length, 0, "so the state is not sent again");
  await put(sku, { price: 2 });
  await page.shows(new RegExp(`^open ${sku}:2 `));
  assert.ok((await page.shown()).every((text) => /:[12]/.test(text)), "it was there all the time");
  // A component that comes later with the old rendering shows the newer state that is known.
  await page.show([...parts, ["detail", { sku, initial }, "late"]]);
  await page.shows(new RegExp(`\\[${sku}=2\\*\\] $`));
  assert.ok((await page.shown()).every((text) => !text.includes(`[${sku}=1`)));
  assert.deepEqual(page.complaints, []);
});

test("a component that was hidden for long goes on from what it had shown", async (t) => {
  const sku = key("H");
  await put(sku, { price: 1 });
  const page = await Page.open(t, { options: { lingerMs: 20 } });
  const parts = [["detail", { sku }]];
  await page.show(parts);
  await page.shows(`[${sku}=1*] `);
  await page.show(parts, { hidden: true });
  await page.line.untilAsked("unsubscribe");
  await put(sku, { price: 2 });
  await page.shown();
  await page.show(parts);
  await page.shows(`[${sku}=2*] `);
  assert.ok((await page.shown()).every((text) => !text.includes("...")));
});

test("a tree that React renders in several turns shows one state of a record, whatever comes meanwhile", async (t) => {
  const sku = key("T");
  await put(sku, { stock: 0 });
  const page = await Page.open(t);
  await page.show([["slow", { sku }]]);
  await page.shows("0 ");
  const many = Array.from({ length: 20 }, (_, at) => ["slow", { sku }, at]);
  await page.show(many, { transition: true });
  for (let n = 0; n < 15; n += 1) await add(sku, 1);
  await page.shows("15 ".repeat(20));
  for (const text of await page.shown()) {
    const figures = text.trim().split(" ");
    assert.equal(new Set(figures).size, 1, `one state: ${text}`);
  }
});

test("a write is shown at once and confirmed by its stamp, without a flicker", async (t) => {
  const sku = key("W");
  await put(sku, { stock: 10 });
  const page = await Page.open(t);
  await page.show([["stock", { sku }], ["price", { sku }]]);
  await page.shows(`${sku}:10 ${sku}:1 `);
  for (const order of ["as they come", "answer first", "push first"]) {
    const before = Number((await server.call("get", { collection: "products", key: sku })).value.stock);
    await page.shown();
    // What is kept back is let go after the other has been heard.
    const held = [];
    const isKept = (message) => (order === "push first" ? message.result?.stamp : message.method === "freshet_subscription");
    page.line.edit((message) => {
      if (order === "as they come" || !isKept(message)) return message;
      held.push(message);
      return { jsonrpc: "2.0", method: "freshet_nothing" };
    });
    await page.patch(sku, { increment: { stock: -1 } });
    if (order !== "as they come") {
      await until("one of the two is kept back", () => held.length > 0);
      await page.shows(new RegExp(`^${sku}:${before - 1}~`));
      page.line.edit((message) => message);
      held.splice(0).forEach((message) => page.line.say(message));
    }
    await page.shows(`${sku}:${before - 1} ${sku}:1 `);
    const figures = (await page.shown()).map((text) => Number(/:(\d+)/.exec(text)[1]));
    assert.deepEqual([...new Set(figures)], figures.includes(before) ? [before, before - 1] : [before - 1], `${order}: ${figures}`);
    assert.ok(figures.lastIndexOf(before) < figures.indexOf(before - 1), `${order}: it did not come back`);
  }
});

test("a write that is refused is undone, and says why", async (t) => {
  const sku = key("R");
  const { stamp } = await put(sku, { stock: 1 });
  const page = await Page.open(t);
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:1 `);
  await page.shown();
  page.line.hold();
  await page.patch(sku, { increment: { stock: -2 } });
  await page.shows(`${sku}:-1~ pending `);
  page.line.flow();
  await page.shows(`${sku}:1 invalid_value `);
  await add(sku, 4);
  await page.shows(`${sku}:5 invalid_value `);
  await page.patch(sku, { merge: { stock: 9 } }, { ifStamp: stamp });
  await page.shows(`${sku}:5 version_conflict `);
  await page.patch(sku, { merge: { stock: 9 } });
  await page.shows(`${sku}:9 `);
  assert.deepEqual(await page.settled(3), ["invalid_value", "version_conflict", "done"]);
  assert.deepEqual(page.complaints, [], "a rejection that nobody handles is none");
});

test("what others write meanwhile is neither lost nor counted twice", async (t) => {
  const sku = key("O");
  await put(sku, { stock: 100 });
  const page = await Page.open(t);
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:100 `);
  await page.shown();
  // The answers are kept back, pushes are not.
  const held = [];
  page.line.edit((message) => {
    if (!message.result?.stamp) return message;
    held.push(message);
    return { jsonrpc: "2.0", method: "freshet_nothing" };
  });
  await add(sku, 1_000);
  await page.shows(`${sku}:1100 `);
  for (let n = 1; n <= 3; n += 1) {
    await page.patch(sku, { increment: { stock: -1 } });
    await until("it is written", () => held.length === n);
    await add(sku, 1_000);
  }
  await page.shows(`${sku}:1097~ pending `);
  held.forEach((message) => page.line.say(message));
  await page.shows(`${sku}:4097 `);
  const own = (await page.shown()).map((text) => Number(/:(\d+)/.exec(text)[1]) % 1_000);
  assert.deepEqual(own, [...own].sort((x, y) => (x === y ? 0 : (y + 500) % 1_000 - ((x + 500) % 1_000))), `no write comes back: ${own}`);
});

test("a write survives the loss of its connection, and stays shown meanwhile", async (t) => {
  const sku = key("C");
  await put(sku, { stock: 10 });
  const page = await Page.open(t);
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:10 `);
  await page.shown();
  page.line.hold();
  await page.patch(sku, { increment: { stock: -1 } });
  await page.line.untilAsked("patch");
  await until("it is written", async () => (await server.call("get", { collection: "products", key: sku })).value.stock === 9);
  await page.line.refuse();
  await page.shows(`${sku}:9?!~ pending `);
  page.line.flow();
  await page.line.accept();
  await page.shows(`${sku}:9 `);
  assert.equal((await page.settled(1))[0], "done");
  const figures = (await page.shown()).map((text) => Number(/:(\d+)/.exec(text)[1]));
  assert.deepEqual([...new Set(figures)], [10, 9].slice(figures.includes(10) ? 0 : 1), String(figures));
});

test("a write whose outcome is unknown is shown no longer, and comes as any change if it happened", async (t) => {
  const sku = key("X");
  await put(sku, { stock: 10 });
  const page = await Page.open(t);
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:10 `);
  page.line.hold();
  await page.patch(sku, { increment: { stock: -1 } }, { timeoutMs: 300 });
  await page.shows(`${sku}:9~ pending `);
  await page.shows(`${sku}:10 outcome_unknown `);
  page.line.flow();
  await page.shows(`${sku}:9 outcome_unknown `);
  // What the program says itself is shown, or nothing.
  page.line.hold();
  await page.run((sku) => void globalThis.mutations[sku].patch({ increment: { stock: -1 } }, { optimistic: (row) => ({ ...row, stock: 77 }) }), sku);
  await page.shows(`${sku}:77~ pending `);
  page.line.flow();
  await page.shows(`${sku}:8 `);
  page.line.hold();
  await page.run((sku) => void globalThis.mutations[sku].put({ name: "a lamp", price: 1, stock: 5 }, { optimistic: false }), sku);
  await page.shows(`${sku}:8 pending `);
  page.line.flow();
  await page.shows(`${sku}:5 `);
  page.line.hold();
  await page.run((sku) => void globalThis.mutations[sku].delete(), sku);
  await page.shows(`${sku}:none~ pending `);
  page.line.flow();
  await page.shows(`${sku}:none `);
});

test("a write goes on when its component leaves, and one who comes back finds it", async (t) => {
  const sku = key("U");
  await put(sku, { stock: 10 });
  const page = await Page.open(t, { options: { lingerMs: 20 } });
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:10 `);
  page.line.hold();
  await page.patch(sku, { increment: { stock: -1 } });
  await page.shows(`${sku}:9~ pending `);
  await page.show([]);
  await page.shows("");
  await page.shown();
  await page.show([["stock", { sku }]]);
  await page.shows(`${sku}:9~ `);
  page.line.flow();
  await page.shows(`${sku}:9 `);
  assert.ok((await page.shown()).every((text) => text === "" || text.startsWith(`${sku}:9`)));
  await page.show([]);
  await page.line.untilAsked("unsubscribe");
  assert.deepEqual(page.complaints, []);
});

// A small application with the hooks, as a bundler makes it.
function application() {
  return bundle("application.mjs", { define: { "process.env.NODE_ENV": '"development"' } });
}

// What the module of a server that renders answers.
async function rendered(parts) {
  const module = { exports: {} };
  const text = await bundle("rendering.mjs", { platform: "node", format: "cjs" });
  runInThisContext(`(module, exports, require) => {${text}\n}`)(module, module.exports, createRequire(import.meta.url));
  return module.exports.render(parts);
}

async function bundle(entry, options) {
  const esbuild = createRequire(here("../../../clients/typescript/package.json"))("esbuild");
  const { outputFiles } = await esbuild.build({
    entryPoints: [here(entry)],
    bundle: true,
    write: false,
    nodePaths: [here("../node_modules")],
    logLevel: "warning",
    ...options,
  });
  return outputFiles[0].text;
}
