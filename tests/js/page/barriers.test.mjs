// What must stand in nobody's way: axe finds no violation in any state of the page, light and dark, on a desk and on a phone.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { launch } from "../browser.mjs";
import { Proxy } from "../proxy.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { connected, says, shoot, Viewer } from "./viewer.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", memory: true })]);
});
after(() => Promise.all([browser?.close(), server?.remove()]));

// In the dark only the colours differ.
const RULES = { light: {}, dark: { runOnly: ["color-contrast"] } };

// Each state is reached from the one before; on a phone the parts are screens of their own.
const COMMON = {
  fresh: async () => {},
  search: async (page) => {
    await page.fill("#query", "heart");
    await until("the list narrows", async () => /^\d+ products/.test(await page.textContent("#count")));
  },
  "search for nothing": (page) => page.fill("#query", "no such thing"),
  product: async (page) => {
    await page.goto("/#85123A");
    await connected(page);
    await page.click("text=Sell one");
    await until("the change is told", async () => (await page.textContent("#message")).startsWith("You sold 1"));
  },
  "a price that is none": async (page) => {
    await page.fill("#new-price", "cheap");
    await page.keyboard.press("Enter");
    await until("the mistake is named", async () => (await page.textContent("#message")).startsWith("Enter a price"));
  },
  "no such product": async (page) => {
    await page.goto("/#NO-SUCH-1");
    await page.waitForSelector("#absent:not([hidden])");
  },
};
const STATES = {
  1280: { ...COMMON, explained: (page) => page.click(".about summary") },
  390: {
    ...COMMON,
    watched: (page) => page.goto("/#/watched"),
    node: (page) => page.goto("/#/node"),
    explained: (page) => page.click(".about summary"),
  },
};

for (const [size, device] of Object.entries({ 1280: DESKTOP, 390: PHONE })) {
  for (const colorScheme of ["light", "dark"]) {
    test(`no state of the page has a barrier, ${size} px wide, ${colorScheme}`, async () => {
      const line = await Proxy.to(server.address);
      const viewer = await Viewer.of(browser, { url: `http://${line.address}` }, { ...device, colorScheme, outage: true });
      try {
        const page = await viewer.open();
        await until("the shop's clock runs", async () => /20\d\d/.test(await page.textContent("#shop-clock")));
        await until("rates have come", async () => /\d\/s/.test(await page.textContent("#rates")));
        await page.evaluate(axe); // Not as a script of the page: its policy forbids that.
        for (const [state, reach] of Object.entries(STATES[size])) {
          await reach(page);
          await hasNone(page, `${state}-${size}-${colorScheme}`, RULES[colorScheme]);
        }
        await page.goto("/#85123A");
        await line.refuse();
        line.cut();
        await says(page, "Disconnected");
        await hasNone(page, `offline-${size}-${colorScheme}`, RULES[colorScheme]);
      } finally {
        await viewer.close();
        await line.close();
      }
    });
  }
}

async function hasNone(page, state, rules) {
  await shoot(page, state);
  const { violations } = await page.evaluate((rules) => globalThis.axe.run(document, { resultTypes: ["violations"], ...rules }), rules);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
  assert.deepEqual(found, [], state);
}
