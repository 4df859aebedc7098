// Lighthouse's categories that do not depend on the machine's speed. `performance.mjs` measures the other.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server } from "../server.mjs";
import { examine, lossesOf, scoreOf } from "./lighthouse.mjs";

const CATEGORIES = ["accessibility", "best-practices", "seo"];
const GOAL = 95;
// Without a slow network and processor made up: they change nothing here but the time it takes.
const SETTINGS = { throttlingMethod: "provided", maxWaitForLoad: 3_000 };

let server;

before(async () => {
  server = await Server.start({ command: "demo", memory: true });
});
after(() => server?.remove());

for (const form of ["desktop", "phone"]) {
  test(`Lighthouse gives the page ${GOAL} or more, ${form}`, async () => {
    const lhr = await examine(`${server.url}/`, form, CATEGORIES, SETTINGS);
    for (const category of CATEGORIES) {
      assert.ok(scoreOf(lhr, category) >= GOAL, `${category}: ${scoreOf(lhr, category)}; ${lossesOf(lhr, category).join("; ")}`);
    }
  });
}
