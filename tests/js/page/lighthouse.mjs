// Google's Lighthouse, against a page of a real server, in a Chromium of its own.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import lighthouse, { desktopConfig } from "lighthouse";

import { launchDebuggable } from "../browser.mjs";

/** Lighthouse's result for `categories`. `form` is "desktop" or "phone"; `settings` are Lighthouse's own. */
export async function examine(url, form, categories, settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), "freshet-lighthouse-"));
  const browser = await launchDebuggable(folder);
  try {
    const port = Number((await readFile(join(folder, "DevToolsActivePort"), "utf8")).split("\n")[0]);
    // The page never becomes idle: its streams stay open.
    const flags = { port, logLevel: "error", onlyCategories: categories, maxWaitForLoad: 8_000, disableFullPageScreenshot: true, ...settings };
    const { lhr } = await lighthouse(url, flags, form === "desktop" ? desktopConfig : undefined);
    if (lhr.runtimeError) throw new Error(`Lighthouse: ${lhr.runtimeError.message}`);
    return lhr;
  } finally {
    await browser.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** A category's score in percent. */
export function scoreOf(lhr, category) {
  return Math.round(100 * lhr.categories[category].score);
}

/** The audits of a category that cost points, in words. */
export function lossesOf(lhr, category) {
  const { auditRefs } = lhr.categories[category];
  const lost = auditRefs.filter(({ id, weight }) => weight > 0 && lhr.audits[id].score !== null && lhr.audits[id].score < 1);
  return lost.map(({ id }) => `${id}: ${lhr.audits[id].title} ${lhr.audits[id].displayValue ?? ""}`.trim());
}
