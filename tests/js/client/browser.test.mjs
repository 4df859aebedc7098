// What is the browser's alone: its events.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server } from "../server.mjs";
import { chromium } from "./adapters.mjs";
import { Line } from "./line.mjs";

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
