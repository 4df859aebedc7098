// Where the product on the screen lies: which database and which servers. The node is asked again for as long as that may change.

import { isOnePlace } from "/place.js";

const COLLECTION = "products";
// How far replicas are behind is asked for this often, where there are any.
const ASK_EVERY_MS = 2_000;

export class Whereabouts {
  /** Called with a product and its place. */
  onplace = () => {};

  #sku = null;
  #only = null; // The place of every record, where there is but one.

  constructor() {
    setInterval(() => this.#ask(), ASK_EVERY_MS);
  }

  /** Asks for `sku` from now on; without one, for nothing. */
  follow(sku) {
    if (sku === this.#sku) return;
    this.#sku = sku;
    if (sku && this.#only) this.onplace(sku, this.#only);
    else this.#ask();
  }

  async #ask() {
    const sku = this.#sku;
    if (!sku || this.#only || document.hidden) return;
    const asked = fetch(`/where/${COLLECTION}/${encodeURIComponent(sku)}`).then((answer) => (answer.ok ? answer.json() : null));
    const place = await asked.catch(() => null); // The product is shown without it.
    if (!place) return;
    if (isOnePlace(place)) this.#only = place;
    if (sku === this.#sku) this.onplace(sku, place);
  }
}
