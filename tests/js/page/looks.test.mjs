// What everybody must be able to see and use: contrast and labels, small screens, steadiness.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { shoot, Viewer } from "./viewer.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = { catalogue: "/", product: "/#85123A", wall: "/#/watched", node: "/#/node" };
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

let browser;
let server;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", memory: true })]);
});
after(() => Promise.all([browser?.close(), server?.remove()]));

/** Looks at `path` once figures have come, and closes the window again. */
async function look(path, options, check) {
  const viewer = await Viewer.of(browser, server, options);
  const page = await viewer.open(path);
  await until("the shop's clock runs", async () => /20\d\d/.test(await page.textContent("#shop-clock")));
  await until("rates have come", async () => /\d\/s/.test(await page.textContent("#rates")));
  await check(page);
  await viewer.close();
}

for (const colorScheme of ["light", "dark"]) {
  for (const [size, viewport] of Object.entries({ 1280: DESKTOP, 390: PHONE })) {
    const screens = viewport === PHONE ? SCREENS : { product: SCREENS.product };
    for (const [screen, path] of Object.entries(screens)) {
      test(`the ${screen} screen has no barrier, ${colorScheme}, ${size} px wide`, () => look(path, { colorScheme, viewport }, async (page) => {
        await shoot(page, `${screen}-${size}-${colorScheme}`);
        await page.evaluate(axe); // Not as a script of the page: its policy forbids that.
        const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
        const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`);
        assert.deepEqual(found, []);
      }));
    }
  }
}

for (const width of [360, 640, 800, 1199]) {
  test(`nothing is wider than a screen of ${width} px`, async () => {
    for (const path of Object.values(SCREENS)) {
      await look(path, { viewport: { width, height: 800 } }, async (page) => {
        const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
        assert.ok(content <= window, `${path} is ${content} px wide`);
      });
    }
  });
}

test("figures that change move nothing else", () => look("/#85123A", { viewport: DESKTOP }, async (page) => {
  const places = () => page.evaluate(() => {
    const parts = [...document.querySelectorAll("main section, main article, .gauge > *, .tile, .row, .meter, button, input, footer")];
    return parts.map((part) => {
      const { x, y, width, height } = part.getBoundingClientRect();
      return [part.id || part.className || part.textContent, x, y, width, height].join(" ");
    });
  });
  const version = () => page.textContent("#version");
  const before = await places();
  for (let changes = 0; changes < 5; changes += 1) {
    const known = await version();
    await page.click("text=Sell one");
    await until("the product changes", async () => (await version()) !== known);
  }
  assert.deepEqual(await places(), before);
}));

test("who prefers less motion sees changes without it", () => look("/", { reducedMotion: "reduce" }, async (page) => {
  const timing = () => page.evaluate(() => {
    const flash = document.getAnimations().find(({ animationName }) => animationName === "flash");
    return flash && getComputedStyle(flash.effect.target).animationTimingFunction;
  });
  assert.match(await until("something changes", timing), /^step/);
}));
