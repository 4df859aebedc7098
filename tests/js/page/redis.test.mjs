// The row of Redis among the tiers, which only nodes with a Redis have. It needs PostgreSQL and Redis on the machine.

import assert from "node:assert/strict";
import { test } from "node:test";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { shoot, Viewer } from "./viewer.mjs";

for (const memory of [false, true]) {
  test(`a node ${memory ? "without" : "with"} Redis ${memory ? "has no row for it" : "shows what it answers"}`, async () => {
    const [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", memory })]);
    try {
      const viewer = await Viewer.of(browser, server, { viewport: { width: 1280, height: 800 } });
      const page = await viewer.open("/#/node");
      await until("rates have come", async () => /\d\/s/.test(await page.textContent("#tiers")));
      const row = page.locator("#tiers [data-tier=shared]");
      assert.equal(await row.isVisible(), !memory);
      if (!memory) {
        await until("it is in use", async () => /Redis for all nodes/.test(await row.textContent()));
        await until("it answers", async () => !/ 0\/s|–/.test(await row.textContent()) && !/0\.0%/.test(await row.textContent()));
        await shoot(page, "node-redis");
      }
      await viewer.close();
    } finally {
      await Promise.all([browser.close(), server.remove()]);
    }
  });
}
