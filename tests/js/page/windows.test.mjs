// One change, on every screen that shows it: made in one window, over HTTP, and behind Freshet's back.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { launch } from "../browser.mjs";
import { Proxy } from "../proxy.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { reads, shoot, Viewer, watchNumbers } from "./viewer.mjs";

const SKU = "85123A";

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", args: ["--no-replay", "--readers", "0"] })]);
});
after(() => Promise.all([browser?.close(), server?.remove()]));

test("two windows show each other's changes, and those of other programs", async () => {
  const viewer = await Viewer.of(browser, server);
  const first = await viewer.open(`/#${SKU}`);
  const second = await viewer.opened(() => first.click("#second"));
  assert.equal(await second.textContent("#sku"), SKU);

  const stock = Number((await first.textContent("#stock")).replaceAll(",", ""));
  const count = (number) => number.toLocaleString("en-GB");
  await first.click("text=Sell one");
  await reads(second, "#stock", count(stock - 1));
  await reads(first, "#stock", count(stock - 1));
  await second.click("text=Restock 10");
  await reads(first, "#stock", count(stock + 9));

  await server.call("patch", { collection: "products", key: SKU, value: { price: 199 } });
  await server.sql(`UPDATE products SET stock = 7 WHERE sku = '${SKU}'`);
  for (const window of [first, second]) {
    await reads(window, "#price", "£1.99");
    await reads(window, "#stock", "7");
  }
  await reads(first, `#tiles [data-sku="${SKU}"] .tile-stock`, "7 left");
  await reads(first, `#results [data-sku="${SKU}"] .row-stock`, "7 in stock");
  await until("the change is told in words", async () => (await first.textContent("#changes")).includes(`Stock ${count(stock + 9)} → 7`));
  await until("both connections are counted", async () => (await first.textContent("#held")).startsWith("Connections2"));
  await shoot(first, "two-windows-first");
  await shoot(second, "two-windows-second");
  await viewer.close();
});

test("the line to copy changes the product behind the server's back", async () => {
  const viewer = await Viewer.of(browser, server);
  const page = await viewer.open("/#22086");
  await page.waitForSelector('#try[data-shown="yes"]');
  const line = await page.textContent("#command");
  assert.match(line, /^psql -h \S+ -U postgres freshet -c "UPDATE products SET price = price \+ 100 WHERE sku = '22086'"$/);
  const price = Number((await page.textContent("#price")).slice(1));
  await promisify(execFile)("/bin/sh", ["-c", line]);
  await reads(page, "#price", `£${(price + 1).toFixed(2)}`);
  await viewer.close();
});

test("the counters come back with the connection, after a refusal too", async () => {
  const line = await Proxy.to(server.address);
  const viewer = await Viewer.of(browser, { url: `http://${line.address}` }, { outage: true });
  const page = await viewer.open();
  const isLive = async () => (await page.getAttribute("#node", "data-live")) === "yes";
  await until("there are counters", isLive);
  let refused = 0;
  const refuse = (route) => {
    refused += 1;
    return route.fulfill({ status: 503 });
  };
  await page.route("**/v1/stats/events", refuse);
  await line.refuse();
  line.cut();
  await until("the counters are refused", () => refused > 0);
  assert.equal(await isLive(), false);
  await page.unroute("**/v1/stats/events", refuse);
  await line.accept();
  await reads(page, "#link-text", "Connected");
  await until("the counters come again", isLive);
  await viewer.close();
  await line.close();
});

test("a server that is killed and started again is said to be away, and no state goes back", async () => {
  const viewer = await Viewer.of(browser, server, { outage: true });
  const page = await viewer.open("/#22423");
  const screens = ["#version", "#stock", '#tiles [data-sku="22423"] .tile-stock'];
  const [versions, ...stocks] = await Promise.all(screens.map((selector) => watchNumbers(page, selector)));
  const sell = () => server.call("patch", { collection: "products", key: "22423", increment: { stock: -1 }, return: true });
  await sell();
  await server.kill();
  await until("the page says so", async () => /Disconnected|Connecting/.test(await page.textContent("#link-text")));
  await until("what is shown is said to be old", async () => (await page.textContent("#liveness-text")).startsWith("Not live since"));
  await page.waitForSelector('#link[data-state="waiting"]');
  await shoot(page, "reconnecting-1280");
  await server.restart();
  let last;
  for (let sold = 0; sold < 20; sold += 1) last = await sell();
  await reads(page, "#stock", last.value.stock.toLocaleString("en-GB"));
  await reads(page, "#version", `version ${last.version}`);
  await reads(page, "#liveness-text", "Live");
  await until("the counters come again", async () => (await page.getAttribute("#node", "data-live")) === "yes");
  assert.ok(isRising(await versions()), "versions rise");
  for (const read of stocks) assert.ok(isRising((await read()).reverse()), "stock only fell");
  await viewer.close();
});

test("a server that drains is left and come back to, and a change made meanwhile is not lost", async () => {
  const viewer = await Viewer.of(browser, server, { outage: true });
  const page = await viewer.open("/#21212");
  const versions = await watchNumbers(page, "#version");
  const stopped = server.stop();
  await until("the drain is told", async () => (await page.textContent("#link-text")) === "Server restarting");
  assert.equal(await stopped, 0);
  const before = Number((await page.textContent("#stock")).replaceAll(",", ""));
  await page.click("text=Sell one");
  await server.restart();
  await reads(page, "#stock", (before - 1).toLocaleString("en-GB"));
  await reads(page, "#link-text", "Connected");
  assert.ok(isRising(await versions()));
  await viewer.close();
});

function isRising(numbers) {
  return numbers.every((number, at) => at === 0 || number >= numbers[at - 1]);
}
