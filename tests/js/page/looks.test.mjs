// What the page looks like: on small screens, with figures of any size, while they change.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";
import { reads, shoot, Viewer } from "./viewer.mjs";

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
    const flash = document.getAnimations().find(({ animationName }) => animationName?.startsWith("flash"));
    return flash && getComputedStyle(flash.effect.target, flash.effect.pseudoElement).animationTimingFunction;
  });
  assert.match(await until("something changes", timing), /^step/);
}));

test("what moves costs the page's thread no layout and no painting", () => look("/#85123A", { viewport: DESKTOP }, async (page) => {
  const moved = new Set();
  const names = () => page.evaluate(() => document.getAnimations().flatMap(({ animationName, transitionProperty, effect }) => {
    const properties = effect.getKeyframes().flatMap(Object.keys).filter((key) => !["offset", "computedOffset", "easing", "composite"].includes(key));
    return properties.map((property) => `${animationName ?? transitionProperty}: ${property}`);
  }));
  await until("figures light up and shares move", async () => {
    for (const name of await names()) moved.add(name);
    return ["flash-odd: opacity", "flash-even: opacity", "transform: transform"].every((name) => moved.has(name));
  });
  assert.deepEqual([...moved].filter((name) => !/: (opacity|transform)$/.test(name)), []);
}));

test("a name is shown whole on its tile", () => look("/#/watched", { viewport: PHONE }, async (page) => {
  const cut = await page.evaluate(() => [...document.querySelectorAll(".tile-name")].filter((name) => {
    return name.scrollWidth > name.clientWidth || name.scrollHeight > name.clientHeight;
  }).map((name) => name.textContent));
  assert.deepEqual(cut, []);
}));

// As they are on the screen: whatever sticks out of the part that it belongs to.
const outside = (page) => page.evaluate(() => {
  const parts = [".row", ".tile", ".gauge", ".changes li", ".card", ".intro", ".bar"].flatMap((selector) => [...document.querySelectorAll(selector)]);
  const sticking = parts.filter((part) => part.offsetParent).flatMap((part) => {
    const right = part.getBoundingClientRect().right + 1;
    return [...part.querySelectorAll("*:not(.unseen, svg *)")].filter((inner) => inner.getBoundingClientRect().right > right)
      .map((inner) => `${inner.tagName} ${inner.className} in ${part.className}: ${inner.textContent}`);
  });
  const { scrollWidth } = document.documentElement;
  return scrollWidth > innerWidth ? [...sticking, `the page is ${scrollWidth} px wide`] : sticking;
});

for (const viewport of [DESKTOP, PHONE, { width: 320, height: 600 }]) {
  test(`figures of any size fit, ${viewport.width} px wide`, async () => {
    const viewer = await Viewer.of(browser, server, { viewport });
    const page = await viewer.open("/#22423");
    const name = "A name that is much longer than a name of a product should be, WITHOUTANYSPACEBETWEENITSMANYMANYLETTERSATTHEEND";
    const [before] = await Promise.all([server.call("get", { collection: "products", key: "22423" })]);
    for (const [price, text] of [[99_999_999_999, "£999,999,999.99"], [9_007_199_254_740_000, "£90,071,992,547,400.00"]]) {
      await server.call("patch", { collection: "products", key: "22423", value: { name, price, stock: 2_147_483_647 } });
      for (const path of Object.values({ ...SCREENS, product: "/#22423" })) {
        await page.goto(path);
        if (path === "/#22423") await reads(page, "#price", text);
        assert.deepEqual(await outside(page), [], path);
        await shoot(page, `huge-${text.length}-${path.replaceAll(/\W/g, "")}-${viewport.width}`);
      }
    }
    await server.call("patch", { collection: "products", key: "22423", value: { name: before.value.name, price: 1275, stock: 500 } });
    await viewer.close();
  });
}

test("a phone's list of changes shows the price whole", () => look("/#84879", { viewport: PHONE }, async (page) => {
  await server.call("patch", { collection: "products", key: "84879", value: { price: 1_295 }, increment: { stock: -40 } });
  const seen = await until("the change is listed", () => page.evaluate(() => {
    const line = [...document.querySelectorAll("#changes li")].find((line) => line.textContent.includes("£12.95"));
    const price = [...(line?.querySelectorAll(".what span") ?? [])].find((part) => part.textContent === "£12.95")?.getBoundingClientRect();
    const what = line?.querySelector(".what").getBoundingClientRect();
    return line && { text: line.textContent, isWhole: price.right <= what.right && price.width > 0 && price.bottom <= what.bottom + 1 };
  }));
  assert.ok(seen.isWhole, seen.text);
  await shoot(page, "changes-390");
}));
