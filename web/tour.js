// The line to copy, which changes the product on the screen from another program.

import { commandLine } from "/command.js";
import { write } from "/element.js";

const SAID_FOR_MS = 2_000;

export class Tour {
  #timer = 0;

  #parts = Object.fromEntries(["try", "try-label", "command", "copy", "copied"].map((id) => [id, document.getElementById(id)]));

  constructor() {
    this.#parts.copy.addEventListener("click", () => this.#copy());
  }

  /** Shows the line for `sku`, which lies at `place`. */
  show(sku, place) {
    const line = commandLine(sku, place, location);
    this.#parts.try.dataset.shown = line ? "yes" : "no";
    if (!line) return;
    const label = place.login
      ? `Change the price of ${sku} behind Freshet's back, in a terminal where the node runs:`
      : `Records are in memory here. Change the stock of ${sku} from a terminal:`;
    write(this.#parts["try-label"], label);
    write(this.#parts.command, line);
  }

  async #copy() {
    const { command, copy, copied } = this.#parts;
    const done = await put(command);
    write(copy, done ? "Copied" : "Press Ctrl+C");
    write(copied, done ? "The line is in the clipboard." : "The line is selected: press Control C.");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      write(copy, "Copy");
      write(copied, "");
    }, SAID_FOR_MS);
  }
}

// A page that came over plain HTTP from another machine has no clipboard: then the text is selected, for whoever reads on.
async function put(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
