// The search field and the list of products, each row with its live price and stock.

import { element } from "/element.js";
import { writeFigure } from "/figure.js";
import { count, countShort, moneyShort, timeOfDay, title } from "/format.js";
import { makeIndex, pieces, search, words } from "/search.js";

// As many rows as somebody reads; each is a key that the server watches for us.
const ROWS_MAX = 40;
// What moves at once on a wall that nobody has chosen.
const BEST = 12;
// Typing on is cheaper than subscribing to every letter.
const WATCH_AFTER_MS = 150;

export class Finder {
  #index = null;
  #problem = null;
  #rows = new Map(); // sku -> { price, stock } elements, and the value they show
  #selected = null;
  #visible = true;
  #timer = 0;
  #watch;

  #section = document.querySelector(".finder");
  #form = document.getElementById("search");
  #query = document.getElementById("query");
  #count = document.getElementById("count");
  #results = document.getElementById("results");

  /** `open(sku)` is called for what somebody chose. */
  constructor(client, open) {
    this.#watch = client.watch("products", [], (state) => this.#show(state), {
      onLive: () => this.showLiveness(),
      onFreshness: (freshness, sku) => this.#showFreshness(sku, freshness),
    });
    this.#query.addEventListener("input", () => this.#render());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const sku = this.#firstChoice();
      if (sku) open(sku);
    });
  }

  /** Fetches the index; the list says so when there is none, and SKUs can still be typed. */
  async load() {
    try {
      const answer = await fetch("/products.json");
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      this.#index = makeIndex(await answer.json());
    } catch (error) {
      this.#problem = error.message;
    }
    this.#render();
  }

  /** Whether the index was fetched, or that has failed. */
  get isLoaded() {
    return this.#index !== null || this.#problem !== null;
  }

  /** The first product of the list, once there is one. */
  get first() {
    return this.#results.querySelector("a")?.dataset.sku;
  }

  /** The SKUs that were ordered most. */
  get best() {
    return (this.#index ?? []).slice(0, BEST).map(({ sku }) => sku);
  }

  nameOf(sku) {
    const known = this.#index?.find((product) => product.sku === sku);
    return known && title(known.name);
  }

  select(sku) {
    this.#selected = sku;
    this.#markSelected();
  }

  /** A list that nobody sees watches nothing. */
  setVisible(visible) {
    if (visible === this.#visible) return;
    this.#visible = visible;
    this.#watchRows();
  }

  /** What is shown may not be live any more, or again. */
  showLiveness() {
    this.#section.dataset.live = this.#watch.isLive ? "yes" : "lost";
  }

  focus() {
    this.#query.focus();
    this.#query.select();
  }

  #firstChoice() {
    const typed = this.#query.value.trim();
    return typed === "" ? this.first : (this.first ?? typed);
  }

  #render() {
    const wanted = words(this.#query.value);
    const { products, total } = this.#index ? search(this.#index, wanted, ROWS_MAX) : { products: [], total: 0 };
    this.#count.textContent = this.#countText(wanted, products.length, total);
    this.#rows.clear();
    this.#results.replaceChildren(...products.map((product) => this.#row(product, wanted)));
    this.#results.scrollTop = 0;
    this.#markSelected();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#watchRows(), wanted.length === 0 ? 0 : WATCH_AFTER_MS);
  }

  #countText(wanted, shown, total) {
    if (this.#problem) return `The list of products could not be loaded (${this.#problem}). Type a SKU and press Enter.`;
    if (total === 0) return "No product matches. Enter opens what you typed as a SKU.";
    if (wanted.length === 0) return `${count(total)} products, the most ordered first`;
    const products = total === 1 ? "1 product" : `${count(total)} products`;
    return shown < total ? `${products}, the first ${shown} shown` : products;
  }

  #row({ sku, name }, wanted) {
    const parts = pieces(title(name), wanted).map(({ text, match }) => (match ? element("mark", "", text) : text));
    const price = element("span", "row-price");
    const stock = element("span", "row-stock");
    const link = element("a", "row");
    link.href = `#${encodeURIComponent(sku)}`;
    link.dataset.sku = sku;
    link.append(element("span", "row-name", ...parts), " ", element("span", "row-sku", sku), " ", stock, " ", price);
    this.#rows.set(sku, { link, price, stock, value: null });
    const known = this.#watch.state(sku);
    if (known) this.#show(known);
    this.#showFreshness(sku, this.#watch.freshness(sku));
    return element("li", "", link);
  }

  #markSelected() {
    for (const row of this.#results.querySelectorAll("a")) {
      if (row.dataset.sku === this.#selected) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  #watchRows() {
    this.#watch.show(this.#visible ? [...this.#rows.keys()] : []);
  }

  #showFreshness(sku, { provenAt }) {
    const row = this.#rows.get(sku)?.link;
    if (!row) return;
    row.classList.toggle("stale", provenAt !== undefined);
    if (provenAt === undefined) row.removeAttribute("title");
    else row.title = `As of ${timeOfDay(provenAt)}`;
  }

  #show({ key, value }) {
    const row = this.#rows.get(key);
    if (!row) return;
    const before = row.value;
    row.value = value;
    writeFigure(row.price, value ? moneyShort(value.price, value.currency) : "", before && value ? value.price - before.price : 0);
    writeFigure(row.stock, value ? `${countShort(value.stock)} in stock` : "gone", before && value ? value.stock - before.stock : 0);
    row.stock.classList.toggle("none", value?.stock === 0);
  }
}
