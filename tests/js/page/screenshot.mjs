// Makes docs/demo.png, the picture in the README, of a demo that has run for about a minute:
//
//     cargo build --release && FRESHET_BIN=target/release/freshet node tests/js/page/screenshot.mjs
//
// It sells a few of one product, so that the time from click to screen is in the picture.

import { stat } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { Viewer } from "./viewer.mjs";

const RUNS_MS = 54_000;
const PICTURE = fileURLToPath(new URL("../../../docs/demo.png", import.meta.url));

const [browser, server] = await Promise.all([launch(), Server.start({ command: "demo" })]);
try {
  const viewer = await Viewer.of(browser, server, { viewport: { width: 1360, height: 900 } });
  const page = await viewer.open("/#85123A");
  await pause(RUNS_MS); // The charts fill with the last minute.
  for (let sold = 0; sold < 4; sold += 1) {
    await page.click("text=Sell one");
    await pause(700);
  }
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  await page.screenshot({ path: PICTURE });
  await viewer.close();
} finally {
  await Promise.all([browser.close(), server.remove()]);
}
console.log(`${PICTURE}: ${Math.round((await stat(PICTURE)).size / 1024)} kB`);
