// The demo page before three nodes: it stays right whichever of them goes away, and however. It needs PostgreSQL and Redis.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch } from "../browser.mjs";
import { Cluster } from "../cluster.mjs";
import { until } from "../until.mjs";
import { reads, says, shoot, Viewer, watchNumbers } from "./viewer.mjs";

const KEY = "NEW-1";
const FAULTS = ["kill", "drain", "freeze"];

let browser;
let cluster;

before(async () => {
  [browser, cluster] = await Promise.all([launch(), Cluster.start()]);
});
after(() => Promise.all([browser?.close(), cluster?.remove()]));

test("the page stays right while nodes are killed, drained, stopped and woken", async () => {
  await cluster.call("put", { collection: "products", key: KEY, value: { name: "A new thing", price: 250, stock: 1000 } });
  const viewer = await Viewer.of(browser, cluster, { outage: true });
  const page = await viewer.open(`/#${KEY}`);
  // It imports the catalogue first.
  await until("a node plays the sales", async () => /20\d\d/.test(await page.textContent("#shop-clock")), { within: 120_000 });
  const [versions, stocks] = await Promise.all(["#version", "#stock"].map((selector) => watchNumbers(page, selector)));
  let stock = 1000;
  // Sold by somebody else, once, however often it is asked for.
  const sell = async () => {
    const params = { collection: "products", key: KEY, increment: { stock: -1 }, idempotency_key: `sold-${stock}` };
    await cluster.call("patch", params);
    stock -= 1;
  };
  // The page is on one of the nodes, so each fault meets it once at least.
  for (const fault of FAULTS) {
    for (const node of ["n1", "n2", "n3"]) {
      await cluster.tell(`${fault} ${node}`);
      await sell();
      await reads(page, "#stock", stock.toLocaleString("en-GB"));
      if (node === "n1") await shoot(page, `cluster-${fault}`);
      await cluster.tell(`${fault === "freeze" ? "thaw" : "start"} ${node}`);
    }
  }
  await cluster.tell("kill redis");
  await cluster.tell("restart");
  await sell();
  await reads(page, "#stock", stock.toLocaleString("en-GB"));
  await says(page, "Connected");
  await reads(page, "#liveness-text", "Live");
  await until("the counters come again", async () => (await page.getAttribute("#node", "data-live")) === "yes");
  assert.ok(isRising(await versions()), "versions rise");
  assert.ok(isRising((await stocks()).reverse()), "stock only fell");
  await viewer.close();
});

function isRising(numbers) {
  return numbers.every((number, at) => at === 0 || number >= numbers[at - 1]);
}
