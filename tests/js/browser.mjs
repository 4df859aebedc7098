// Headless Chromium, as the system has it.

import { access } from "node:fs/promises";

import { chromium } from "playwright-core";

// Nothing of the browser's own shall reach out of the machine, or wait for a graphics card.
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts the browser; each has a profile of its own, thrown away by `close`. */
export async function launch() {
  const executablePath = await installed();
  return chromium.launch({ executablePath, args: ARGUMENTS });
}

/** Starts one whose port for debuggers is in `DevToolsActivePort` in `folder`, which becomes its profile. */
export async function launchDebuggable(folder) {
  const executablePath = await installed();
  return chromium.launchPersistentContext(folder, { executablePath, args: [...ARGUMENTS, "--remote-debugging-port=0"] });
}

async function installed() {
  const places = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
  for (const place of places.filter(Boolean)) {
    const isThere = await access(place).then(() => true).catch(() => false);
    if (isThere) return place;
  }
  throw new Error("there is no Chromium: install it (Debian: apt-get install chromium), or name it in CHROMIUM");
}
