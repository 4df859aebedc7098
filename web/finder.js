// The search field and the list of products, each row with its live price and stock.

import { writeFigure } from "/figure.js";
import { count, money } from "/format.js";
import { makeIndex, pieces, search, words } from "/search.js";

// As many rows as somebody reads; each is a key that the server watches for us.
const ROWS_MAX = 40;
// Typing on is cheaper than subscribing to every letter.
const WATCH_AFTER_MS = 150;

export class Finder {
  #index = null;
  #problem = null;
  #rows = new Map(); // sku -> { price, stock } elements
  #selected = null;
  #visible = true;
  #timer = 0;
  #link;
  #watch;

  #form = document.getElementById("search");
  #query = document.getElementById("query");
  #count = document.getElementById("count");
  #results = document.getElementById("results");

  constructor(link, open) {
    this.#link = link;
    this.#watch = link.watch("products", (record, previous) => this.#show(record, previous));
    this.#query.addEventListener("input", () => this.#render());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const sku = this.#firstChoice();
      if (sku) open(sku);
    });
    document.addEventListener("keydown", (event) => this.#key(event));
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

  /** The first product of the list, once there is one. */
  get first() {
    return this.#results.querySelector("a")?.dataset.sku;
  }

  nameOf(sku) {
    return this.#index?.find((product) => product.sku === sku)?.name;
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
    const parts = pieces(name, wanted).map(({ text, match }) => (match ? element("mark", "", text) : text));
    const price = element("span", "row-price");
    const stock = element("span", "row-stock");
    const link = element("a", "row");
    link.href = `#${encodeURIComponent(sku)}`;
    link.dataset.sku = sku;
    link.append(element("span", "row-name", ...parts), " ", price, " ", element("span", "row-sku", sku), " ", stock);
    this.#rows.set(sku, { price, stock });
    const known = this.#link.record("products", sku);
    if (known) this.#show(known);
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

  #show({ key, value }, previous) {
    const row = this.#rows.get(key);
    if (!row) return;
    const before = previous?.value;
    writeFigure(row.price, value ? money(value.price, value.currency) : "", before && value ? value.price - before.price : 0);
    writeFigure(row.stock, value ? `${count(value.stock)} in stock` : "gone", before && value ? value.stock - before.stock : 0);
    row.stock.classList.toggle("none", value?.stock === 0);
  }

  // "/" searches from anywhere; the arrows walk from the field through the rows; Escape leads back.
  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = event.target.closest?.("input");
    const row = event.target.closest?.("#results a");
    if (event.key === "/" && !typing) this.focus();
    else if (event.key === "ArrowDown" && (row || typing === this.#query)) this.#step(row, 1);
    else if (event.key === "ArrowUp" && row) this.#step(row, -1);
    else if (event.key === "Escape" && row) this.focus();
    else return;
    event.preventDefault();
  }

  #step(row, by) {
    const rows = [...this.#results.querySelectorAll("a")];
    const next = row ? rows.indexOf(row) + by : 0;
    if (next < 0) this.#query.focus();
    else rows[next]?.focus();
  }
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
