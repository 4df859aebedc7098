// The products on the wall, kept by this browser.

const PLACE = "freshet.watched";
// As many as a wall shows at a glance; the server would take a thousand.
const PINS_MAX = 48;

export class Pins {
  /** Called after each change. */
  onchange = () => {};

  #skus = kept();

  /** The SKUs, in the order they were pinned; null when nobody has ever chosen. */
  get skus() {
    return this.#skus;
  }

  has(sku) {
    return this.#skus?.includes(sku) ?? false;
  }

  /** Pins what is not pinned, and unpins what is. */
  toggle(sku) {
    const others = (this.#skus ?? []).filter((pinned) => pinned !== sku);
    this.#skus = this.has(sku) ? others : [sku, ...others].slice(0, PINS_MAX);
    keep(this.#skus);
    this.onchange();
  }

  /** Goes back to a set that nobody chose. */
  reset(skus) {
    this.#skus = skus;
    keep(null);
    this.onchange();
  }
}

// A browser may refuse to keep anything, and what it kept may be anybody's: then the wall starts afresh.
function kept() {
  try {
    const skus = JSON.parse(localStorage.getItem(PLACE));
    return Array.isArray(skus) && skus.every((sku) => typeof sku === "string") ? skus.slice(0, PINS_MAX) : null;
  } catch {
    return null;
  }
}

function keep(skus) {
  try {
    if (skus === null) localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, JSON.stringify(skus));
  } catch {
    // They last as long as the page, then.
  }
}
