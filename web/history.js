// The states of one record that this page has seen, for as far back as a chart shows.

// What every chart spans. A new line begins at its right edge and moves to the left with time.
const SPAN_MS = 60_000;
// More changes than a chart has room for; beyond them the oldest go.
const POINTS_MAX = 600;

export class History {
  #points = []; // { at, price, stock }, in the order of time

  /** Notes a state. A deletion has no figures: the lines end at what was before. */
  note(value, at) {
    if (!value) return;
    this.#points.push({ at, price: value.price, stock: value.stock });
    // The state that held when the window begins is needed, older ones are not.
    while (this.#points.length > POINTS_MAX || this.#points[1]?.at < at - SPAN_MS) this.#points.shift();
  }

  /**
   * What a chart of `field` shows at `now`: its points, the last held until now, what they span, and for how many of its
   * seconds something is known. Null before the first state.
   */
  view(field, now) {
    const points = this.#points.map((point) => ({ at: point.at, value: point[field] }));
    if (points.length === 0) return null;
    const from = now - SPAN_MS;
    const seconds = Math.floor(Math.min(now - points[0].at, SPAN_MS) / 1000);
    while (points.length > 1 && points[1].at <= from) points.shift();
    points.push({ at: now, value: points.at(-1).value });
    const values = points.map(({ value }) => value);
    return { points, seconds, from, to: now, low: Math.min(...values), high: Math.max(...values) };
  }
}
