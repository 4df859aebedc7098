// Lines over time, drawn as SVG that is as wide as its box. The time axis is the same from the first point on; what a line
// spans in height is said beside it.

import { shape } from "/element.js";

// The drawing's own units; it is stretched over the box, and strokes are not.
const SIZE = 100;
// Room above and below, so that a stroke at the edge is whole.
const MARGIN = 8;

/**
 * One or more lines over the same span.
 *
 * `steps` draws values that hold until the next one, as prices do, with a dot at the end, and dotted for the time before
 * the first; without it points are joined. `area` fills what is below the first line, which then should begin at zero.
 */
export class Trace {
  #lines;
  #area;
  #before;
  #dot;
  #steps;

  constructor(box, { lines = 1, steps = false, area = false } = {}) {
    this.#steps = steps;
    const drawing = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
    this.#area = area ? shape("path", { class: "area" }) : null;
    this.#lines = Array.from({ length: lines }, (_, at) => shape("path", { class: `line line-${at}` }));
    this.#before = steps ? shape("path", { class: "before" }) : null;
    this.#dot = steps ? shape("path", { class: "end" }) : null;
    drawing.append(...[this.#area, this.#before, ...this.#lines, this.#dot].filter(Boolean));
    box.replaceChildren(drawing);
  }

  /** Draws each line's points, `{ at, value }` in the order of time, between `from` and `to` and `low` and `high`. */
  draw(lines, { from, to, low, high }) {
    const across = (at) => (SIZE * (Math.max(at, from) - from)) / (to - from);
    const up = (value) => (high > low ? SIZE - MARGIN - ((SIZE - 2 * MARGIN) * (value - low)) / (high - low) : SIZE / 2);
    this.#lines.forEach((line, at) => line.setAttribute("d", this.#path(lines[at] ?? [], across, up)));
    const first = lines[0] ?? [];
    const path = this.#lines[0]?.getAttribute("d");
    this.#area?.setAttribute("d", path ? `${path}V${SIZE}H${round(across(first[0].at))}Z` : "");
    this.#before?.setAttribute("d", first[0]?.at > from ? `M0 ${round(up(first[0].value))}H${round(across(first[0].at))}` : "");
    const last = first.at(-1);
    this.#dot?.setAttribute("d", last ? `M${round(across(last.at))} ${round(up(last.value))}h0` : "");
  }

  #path(points, across, up) {
    return points
      .map(({ at, value }, index) => {
        const [x, y] = [round(across(at)), round(up(value))];
        if (index === 0) return `M${x} ${y}`;
        return this.#steps ? `H${x}V${y}` : `L${x} ${y}`;
      })
      .join("");
  }
}

function round(number) {
  return Math.round(number * 100) / 100;
}
