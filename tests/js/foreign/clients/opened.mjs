// Waiting for a client's first sign of life, with a limit.

import { LIMIT } from "../../until.mjs";

/** Resolves with the next `event` of an emitter, or of an EventTarget. */
export function opened(emitter, event) {
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`waited in vain for "${event}"`)), LIMIT);
    const heard = (value) => {
      clearTimeout(limit);
      resolve(value);
    };
    if (emitter.addEventListener) emitter.addEventListener(event, heard, { once: true });
    else emitter.once(event, heard);
  });
}
