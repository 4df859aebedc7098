// Waiting for what must happen, with a limit: never a sleep.

import { setTimeout as pause } from "node:timers/promises";

/** How long anything may take that a suite waits for. */
export const LIMIT = 20_000;

/**
 * Asks `check` until it answers something truthy, and answers that. `ended`, if given, answers an error once waiting
 * has become pointless.
 */
export async function until(what, check, { within = LIMIT, ended = () => null } = {}) {
  const last = Date.now() + within;
  for (;;) {
    const found = await check();
    if (found) return found;
    const error = ended();
    if (error) throw error;
    if (Date.now() > last) throw new Error(`waited ${within / 1000} s in vain: ${what}`);
    await pause(10);
  }
}
