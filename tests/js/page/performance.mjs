// Measures what depends on the machine: Lighthouse's performance of the demo page, and what an open page costs its browser.
//
//     FRESHET_BIN=target/debug/freshet node tests/js/page/performance.mjs
//
// The second figure is the share of its main thread's time that a page takes which shows sales as they come.

import { setTimeout as pause } from "node:timers/promises";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { examine, lossesOf, scoreOf } from "./lighthouse.mjs";
import { Viewer } from "./viewer.mjs";

const CATEGORIES = ["performance", "accessibility", "best-practices", "seo"];
const METRICS = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift", "speed-index"];
const SETTLES_MS = 5_000;
const MEASURED_MS = 15_000;

const server = await Server.start({ command: "demo", memory: true });
try {
  for (const form of ["desktop", "phone"]) {
    const lhr = await examine(`${server.url}/`, form, CATEGORIES);
    console.log(`${form}: ${CATEGORIES.map((category) => `${category} ${scoreOf(lhr, category)}`).join(", ")}`);
    console.log(`  ${METRICS.map((id) => `${lhr.audits[id].title} ${lhr.audits[id].displayValue}`).join(", ")}`);
    for (const category of CATEGORIES) {
      for (const loss of lossesOf(lhr, category)) console.log(`  ${category} loses by ${loss}`);
    }
  }
  for (const reducedMotion of ["no-preference", "reduce"]) await measureThread(reducedMotion);
} finally {
  await server.remove();
}

async function measureThread(reducedMotion) {
  const browser = await launch();
  const viewer = await Viewer.of(browser, server, { reducedMotion });
  const page = await viewer.open("/#85123A");
  const protocol = await page.context().newCDPSession(page);
  await protocol.send("Performance.enable", { timeDomain: "threadTicks" });
  await pause(SETTLES_MS);
  const before = await readings(protocol);
  await pause(MEASURED_MS);
  const after = await readings(protocol);
  const seconds = after.Timestamp - before.Timestamp;
  const share = (name) => `${((100 * (after[name] - before[name])) / seconds).toFixed(1)}%`;
  const parts = [["all tasks", "TaskDuration"], ["scripts", "ScriptDuration"], ["styles", "RecalcStyleDuration"], ["layout", "LayoutDuration"]];
  const layouts = ((after.LayoutCount - before.LayoutCount) / seconds).toFixed(0);
  console.log(`main thread, motion ${reducedMotion}: ${parts.map(([text, name]) => `${text} ${share(name)}`).join(", ")}, ${layouts} layouts/s`);
  await viewer.close();
  await browser.close();
}

async function readings(protocol) {
  const { metrics } = await protocol.send("Performance.getMetrics");
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}
