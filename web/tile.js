// One watched product on the wall: name, price, stock, how they moved, and how long ago.

import { Trace } from "/chart.js";
import { element, shape, write } from "/element.js";
import { writeFigure } from "/figure.js";
import { ago, countShort, moneyShort, timeOfDay, title } from "/format.js";
import { History } from "/history.js";

export class Tile {
  /** The list item. */
  element;

  #state = null;
  #history = new History();
  #changedAt = null;
  #link = element("a", "tile-name");
  #price = element("span", "tile-price", "–");
  #stock = element("span", "tile-stock", "–");
  #age = element("span", "tile-age");
  #provenAt = undefined; // Until when it is proven, where that is not now.
  #trace;

  /** `onremove` is called when somebody takes it off the wall. */
  constructor(sku, name, onremove) {
    this.#link.href = `#${encodeURIComponent(sku)}`;
    write(this.#link, name ?? sku);
    const remove = element("button", "tile-remove");
    remove.type = "button";
    remove.setAttribute("aria-label", `Stop watching ${name ?? sku}`);
    const cross = shape("svg", { viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false" });
    cross.append(shape("path", { d: "M4 4l8 8M12 4l-8 8" }));
    remove.append(cross);
    remove.addEventListener("click", onremove);
    const trace = element("div", "trace");
    this.#trace = new Trace(trace, { steps: true });
    const figures = element("p", "tile-figures", this.#price, " ", this.#stock);
    this.element = element("li", "tile", this.#link, figures, trace, this.#age, remove);
    this.element.dataset.sku = sku;
  }

  /** Shows a state. The same one may come again, after a connection was lost. */
  show(state) {
    if (state.stamp === this.#state?.stamp) return;
    const { value } = state;
    const before = this.#state?.value;
    const now = Date.now();
    if (this.#state) this.#changedAt = now;
    this.#state = state;
    if (value) write(this.#link, title(value.name));
    this.#history.note(value, now);
    const both = value && before;
    writeFigure(this.#price, value ? moneyShort(value.price, value.currency) : "gone", both ? value.price - before.price : 0);
    writeFigure(this.#stock, value ? `${countShort(value.stock)} left` : "", both ? value.stock - before.stock : 0);
    this.#stock.classList.toggle("none", value?.stock === 0);
    this.tick(now);
  }

  /** The product is fresh, or no longer. */
  showFreshness({ provenAt }) {
    this.#provenAt = provenAt;
    this.element.classList.toggle("stale", provenAt !== undefined);
    this.tick(Date.now());
  }

  /** Moves the line and the age on to `now`. */
  tick(now) {
    const changed = this.#changedAt === null ? "" : ago(now - this.#changedAt);
    write(this.#age, this.#provenAt === undefined ? changed : `as of ${timeOfDay(this.#provenAt)}`);
    const view = this.#history.view("stock", now);
    if (view) this.#trace.draw([view.points], view);
  }
}
