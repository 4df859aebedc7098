// Somebody who looks at the demo page, in a window of a browser.
//
// Promises: whatever the page's policy forbids, every script error and every error in the console is noted, and `close`
// throws it. A window's screenshots go to the folder that FRESHET_SCREENSHOTS names, if it does.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { until } from "../until.mjs";

// What Chromium itself says in the console while a server is away.
const AWAY = /WebSocket connection to|status of 503|net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)/;

/** One browser profile: its windows share what the page keeps. */
export class Viewer {
  #context;
  #complaints = [];

  /** Options are playwright's for a context, such as `viewport`; `outage`: the server will be away for a while. */
  static async of(browser, server, { outage = false, ...options } = {}) {
    const context = await browser.newContext({ baseURL: server.url, viewport: { width: 1280, height: 800 }, ...options });
    return new Viewer(context, outage);
  }

  constructor(context, outage) {
    this.#context = context;
    const complain = (text) => !(outage && AWAY.test(text)) && this.#complaints.push(text);
    context.on("console", (message) => message.type() === "error" && complain(message.text()));
    context.on("weberror", (error) => complain(error.error().stack));
  }

  /** Opens a window at `path` and waits until it is live. */
  async open(path = "/") {
    const window = await this.#context.newPage();
    await window.goto(path);
    await connected(window);
    return window;
  }

  /** The window that `act` makes the page open, once it is live. */
  async opened(act) {
    const [window] = await Promise.all([this.#context.waitForEvent("page"), act()]);
    await connected(window);
    return window;
  }

  /** Closes the windows. Throws what went wrong in them unseen. */
  async close() {
    await this.#context.close();
    assert.deepEqual(this.#complaints, [], "errors in the browser");
  }
}

/** Waits until the connection's state reads `text`. */
export function says(window, text) {
  return until(`the page says "${text}"`, async () => (await window.textContent("#link-text")) === text);
}

/** Waits until the page is connected and what it shows is live. */
export async function connected(window) {
  await says(window, "Connected");
  await until("the product is live", () => window.evaluate(() => {
    const { dataset, offsetParent } = document.getElementById("liveness");
    return offsetParent === null || dataset.live === "yes";
  }));
}

/** Waits until the element that `selector` finds reads `text`. */
export function reads(window, selector, text) {
  return until(`${selector} reads ${text}`, async () => (await window.textContent(selector)) === text);
}

/** From now on, every text that the element of `selector` shows is noted; answers a way to read them as numbers. */
export async function watchNumbers(window, selector) {
  await window.evaluate((selector) => {
    const element = document.querySelector(selector);
    const shown = ((globalThis.shown ??= {})[selector] = [element.textContent]);
    new MutationObserver(() => shown.push(element.textContent)).observe(element, { childList: true, characterData: true, subtree: true });
  }, selector);
  return async () => {
    const texts = await window.evaluate((selector) => globalThis.shown[selector], selector);
    return texts.filter((text) => /\d/.test(text)).map((text) => Number(text.replaceAll(/[^\d.]/g, "")));
  };
}

/** Keeps a picture of the window. */
export async function shoot(window, name) {
  const folder = process.env.FRESHET_SCREENSHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await window.screenshot({ path: join(folder, `${name}.png`) });
}
