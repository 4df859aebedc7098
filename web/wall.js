// The wall of watched products, each a tile that moves when the product does.

import { write } from "/element.js";
import { Tile } from "/tile.js";

const TICK_MS = 1_000;

export class Wall {
  #pins;
  #nameOf;
  #watch;
  #visible = true;
  #best = [];
  #tiles = new Map(); // sku -> tile

  #section = document.getElementById("wall");
  #list = document.getElementById("tiles");
  #count = document.getElementById("wall-count");
  #empty = document.getElementById("wall-empty");
  #bestButton = document.getElementById("wall-best");

  /** `nameOf(sku)` is what the catalogue calls a product, until its record is here. */
  constructor(client, pins, nameOf) {
    this.#pins = pins;
    this.#nameOf = nameOf;
    this.#watch = client.watch("products", [], (state) => this.#tiles.get(state.key)?.show(state), {
      onLive: () => this.showLiveness(),
      onFreshness: (freshness, sku) => this.#tiles.get(sku)?.showFreshness(freshness),
    });
    this.#bestButton.addEventListener("click", () => pins.reset(this.#best));
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Puts up what was pinned, or the best sellers where nobody has pinned anything. */
  fill(best) {
    this.#best = best;
    if (this.#pins.skus === null) this.#pins.reset(best);
    else this.arrange();
  }

  /** The pins have changed. Tiles that stay keep their lines. */
  arrange() {
    const skus = this.#pins.skus ?? [];
    for (const [sku, tile] of this.#tiles) {
      if (!skus.includes(sku)) this.#takeDown(sku, tile);
    }
    for (const sku of skus) {
      if (!this.#tiles.has(sku)) this.#tiles.set(sku, new Tile(sku, this.#nameOf(sku), () => this.#pins.toggle(sku)));
    }
    skus.forEach((sku, at) => this.#place(this.#tiles.get(sku).element, at));
    this.#empty.hidden = skus.length > 0;
    this.#bestButton.hidden = this.#best.every((sku) => skus.includes(sku)) && skus.length > 0;
    write(this.#count, skus.length === 1 ? "1 product" : `${skus.length} products`);
    this.#watchTiles();
  }

  /** A wall that nobody sees watches nothing. */
  setVisible(visible) {
    if (visible === this.#visible) return;
    this.#visible = visible;
    this.#watchTiles();
  }

  /** What is shown may not be live any more, or again. */
  showLiveness() {
    this.#section.dataset.live = this.#watch.isLive ? "yes" : "lost";
  }

  // Moving an element that is in its place already would take the focus from it.
  #place(tile, at) {
    if (this.#list.children[at] !== tile) this.#list.insertBefore(tile, this.#list.children[at] ?? null);
  }

  #takeDown(sku, tile) {
    const focused = tile.element.contains(document.activeElement);
    const next = tile.element.nextElementSibling ?? tile.element.previousElementSibling;
    tile.element.remove();
    this.#tiles.delete(sku);
    if (focused) (next?.querySelector("a") ?? this.#section).focus();
  }

  #watchTiles() {
    this.#watch.show(this.#visible ? [...this.#tiles.keys()] : []);
    this.showLiveness();
  }

  #tick() {
    if (!this.#visible || document.visibilityState !== "visible") return;
    const now = Date.now();
    for (const tile of this.#tiles.values()) tile.tick(now);
  }
}
