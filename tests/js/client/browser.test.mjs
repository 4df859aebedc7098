// What is the browser's alone: its events, and React.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { chromium } from "./adapters.mjs";
import { Line } from "./line.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start({ memory: true }), chromium()]);
});
after(() => Promise.all([server?.remove(), browser?.end()]));

test("the network's return ends a wait, and a look at the page tries the connection out (B3)", async (t) => {
  const line = await Line.to(server.ws);
  t.after(() => line.refuse());
  const client = await browser.driver.open(line.url, { backoffBaseMs: 600_000, backoffCapMs: 600_000 });
  await client.until("open");
  line.cut();
  await client.until("waiting");
  await browser.page.evaluate(() => void globalThis.dispatchEvent(new Event("online")));
  await client.until("open");
  assert.equal(line.asked("unsubscribe").length, 0);
  await browser.page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
  await line.untilAsked("unsubscribe");
  await client.close();
});

test("components that use one record share a subscription and show each newer state of it", async (t) => {
  const line = await Line.to(server.ws);
  t.after(() => line.refuse());
  const page = await browser.page.context().browser().newPage();
  await page.setContent('<div id="root"></div>');
  await page.addScriptTag({ content: await application() });
  await server.call("put", { collection: "products", key: "R1", value: { name: "a lamp", price: 1 } });
  await page.evaluate((url) => void globalThis.show(url, ["R1", "R1", "R2"]), line.url);
  const shows = (text) => until(`the page shows ${text}`, async () => (await page.textContent("#root")) === text);
  await shows("open R1:1 R1:1 R2:none ");
  assert.equal(line.asked("subscribe").length, 2, "StrictMode's second mount included");
  await server.call("put", { collection: "products", key: "R2", value: { name: "a chair", price: 7 } });
  await shows("open R1:1 R1:1 R2:7 ");
  await page.evaluate((url) => void globalThis.show(url, ["R2"]), line.url);
  await shows("open R2:7 ");
  await line.untilAsked("unsubscribe");
  await line.refuse();
  await until("the page says that it waits", async () =>
    /^(waiting|connecting) R2:7\? $/.test(await page.textContent("#root")),
  );
  await line.accept();
  await shows("open R2:7 ");
  await page.evaluate((url) => void globalThis.show(url, ["R2"], "no_such_collection"), line.url);
  await shows("open R2:unknown_collection ");
  await page.close();
});

// A small application with the hooks, as a bundler makes it.
async function application() {
  const esbuild = createRequire(here("../../../clients/typescript/package.json"))("esbuild");
  const { outputFiles } = await esbuild.build({
    entryPoints: [here("application.mjs")],
    bundle: true,
    write: false,
    nodePaths: [here("../node_modules")],
    define: { "process.env.NODE_ENV": '"development"' },
    logLevel: "warning",
  });
  return outputFiles[0].text;
}
