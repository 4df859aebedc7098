// Searching, opening and watching products, with the keyboard alone.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { dirname } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { launch } from "../browser.mjs";
import { binary, Server } from "../server.mjs";
import { until } from "../until.mjs";
import { connected, reads, shoot, Viewer } from "./viewer.mjs";

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", memory: true, args: ["--no-replay"] })]);
});
after(() => Promise.all([browser?.close(), server?.remove()]));

/** Runs `look` with a viewer of its own. */
async function viewing(options, look) {
  const viewer = await Viewer.of(browser, server, options);
  try {
    await look(viewer);
  } finally {
    await viewer.close();
  }
}

test("the page opens on the best seller, live, beside a wall and the node's counters", () => viewing({}, async (viewer) => {
  const page = await viewer.open();
  assert.equal(await page.textContent("#name"), "White Hanging Heart T-Light Holder");
  assert.equal(await page.locator("#tiles .tile").count(), 12);
  await until("tiles have figures", async () => !(await page.textContent("#tiles")).includes("–"));
  await until("reads are counted", async () => /\d\/s/.test(await page.textContent("#tiers")));
  await until("the simulated visitors are named", async () => (await page.textContent("#simulated")).includes("300 reads a second"));
  await until("connections are counted", async () => (await page.textContent("#held")).startsWith("Connections1"));
}));

test("the first screen says what this is, and has a line to copy that works", () => viewing({ permissions: ["clipboard-read", "clipboard-write"] }, async (viewer) => {
  const page = await viewer.open("/#22423");
  assert.match(await page.textContent(".what"), /^Freshet serves records at cache speed and keeps every screen that shows one up to date/);
  await page.waitForSelector('#try[data-shown="yes"]');
  assert.equal(await page.textContent("#command"), `freshet patch products 22423 --increment stock=-1 --url ws://${server.address}`);
  await page.click("#copy");
  await reads(page, "#copy", "Copied");
  const line = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(line, await page.textContent("#command"));
  const stock = Number((await page.textContent("#stock")).replaceAll(",", ""));
  await promisify(execFile)("/bin/sh", ["-c", line], { env: { ...process.env, PATH: `${dirname(binary)}:${process.env.PATH}` } });
  await reads(page, "#stock", (stock - 1).toLocaleString("en-GB"));
}));

test("a product is found, opened and watched by the keyboard alone", () => viewing({}, async (viewer) => {
  const page = await viewer.open();
  await page.keyboard.press("/");
  await page.keyboard.type("teapot");
  await until("the list narrows", async () => /products|product/.test(await page.textContent("#count")) && (await page.locator("#results a").count()) < 40);
  assert.match(await page.textContent("#results"), /teapot/i);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  const sku = await page.evaluate(() => document.activeElement.dataset.sku);
  await page.keyboard.press("Enter");
  await reads(page, "#sku", sku);
  await connected(page);
  await shoot(page, "search-1280");
  assert.equal(await page.getAttribute("#pin", "aria-pressed"), "false");
  await page.keyboard.press("p");
  assert.equal(await page.getAttribute("#pin", "aria-pressed"), "true");
  assert.equal(await page.getAttribute("#tiles li:first-child", "data-sku"), sku);
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), "query");

  await page.reload();
  await connected(page);
  assert.equal(await page.getAttribute("#tiles li:first-child", "data-sku"), sku, "what was chosen is kept");
  await page.focus("#tiles li:first-child a");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("p");
  assert.equal(await page.locator("#tiles .tile").count(), 12, "the second tile was taken down");
  assert.equal(await page.evaluate(() => document.activeElement.closest(".tile") !== null), true, "and the focus stayed on the wall");
}));

test("a price is set, and what is no price is refused in words", () => viewing({}, async (viewer) => {
  const page = await viewer.open("/#22423");
  await page.fill("#new-price", "cheap");
  await page.keyboard.press("Enter");
  await until("the mistake is named", async () => (await page.textContent("#message")).startsWith("Enter a price such as"));
  assert.equal(await page.getAttribute("#new-price", "aria-invalid"), "true");
  await page.fill("#new-price", "13.37");
  await page.keyboard.press("Enter");
  await reads(page, "#price", "£13.37");
  await until("the commit is told", async () => /^You set £13\.37 at .*: committed as version \d+, in \d+ ms\.$/.test(await page.textContent("#message")));
  await until("its time is measured", async () => /ms|s$/.test(await page.textContent("#own")));
  assert.equal((await server.call("get", { collection: "products", key: "22423" })).value.price, 1337);
}));

test("what was set by hand stays in words, and what another made of it since is named", () => viewing({}, async (viewer) => {
  const page = await viewer.open("/#22086");
  await page.fill("#new-price", "5.00");
  await page.keyboard.press("Enter");
  await until("the commit is told", async () => (await page.textContent("#message")).startsWith("You set £5.00"));
  await server.call("patch", { collection: "products", key: "22086", increment: { stock: -3 } });
  const { version } = await server.call("patch", { collection: "products", key: "22086", value: { price: 799 } });
  await until("the other is named", async () => (await page.textContent("#since")).match(/^Another client set £7\.99 at .*, as version (\d+)\.$/)?.[1] === String(version));
  assert.ok((await page.textContent("#message")).startsWith("You set £5.00"), "what was done here stays");
  await page.click('[data-step="-1"]');
  await until("one is sold", async () => (await page.textContent("#message")).startsWith("You sold 1 at"));
  assert.equal(await page.textContent("#since"), "");
  await server.call("patch", { collection: "products", key: "22086", increment: { stock: -7 } });
  await until("the sales are counted", async () => (await page.textContent("#since")).startsWith("Sales and other clients took 7 since"));
}));

test("a product that does not exist is awaited, and appears once it is written", () => viewing({}, async (viewer) => {
  const page = await viewer.open("/#NEW-1");
  await page.waitForSelector("#absent:not([hidden])");
  assert.equal(await page.isVisible("#command"), false, "nothing can be changed yet");
  await server.call("put", { collection: "products", key: "NEW-1", value: { name: "A new thing", price: 250, stock: 3 } });
  await reads(page, "#name", "A new thing");
  await reads(page, "#price", "£2.50");
}));

test("a phone shows one part at a time, and the tabs lead to the others", () =>
  viewing({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }, async (viewer) => {
    const page = await viewer.open();
    const shown = () => page.evaluate(() => ["finder", "product", "wall", "node"].filter((part) => document.querySelector(`.${part}`).offsetParent !== null));
    assert.deepEqual(await shown(), ["finder"]);
    await page.tap("#results li:first-child a");
    assert.deepEqual(await shown(), ["product"]);
    await connected(page);
    await page.tap('[data-tab="wall"]');
    assert.deepEqual(await shown(), ["wall"]);
    await page.tap('[data-tab="node"]');
    assert.deepEqual(await shown(), ["node"]);
    await page.goBack();
    assert.deepEqual(await shown(), ["wall"]);
  }));
