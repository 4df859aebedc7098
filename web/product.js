// One product, live: its figures, how they moved, and where they come from.

import { Change } from "/change.js";
import { logChange } from "/changes.js";
import { Trace } from "/chart.js";
import { write } from "/element.js";
import { fitFigure, writeFigure } from "/figure.js";
import { ago, count, money, moneyShort, timeOfDay, title } from "/format.js";
import { History } from "/history.js";
import { placeText } from "/place.js";

const COLLECTION = "products";
// A screen reader hears the latest figures this often at most, however fast they move.
const ANNOUNCE_EVERY_MS = 3_000;
const TICK_MS = 1_000;

export class Product {
  /** The product shown, null for none; undefined for as long as that is not known. */
  sku;

  #pins;
  #roundtrip;
  #watch;
  #change;
  #state = null;
  #history = new History();
  #lostAt = null; // When it was last known to be live.
  #announceTimer = 0;
  #announced = "";

  #parts = Object.fromEntries([...document.querySelectorAll("#product [id]")].map((part) => [part.id, part]));
  #traces = {
    price: new Trace(this.#parts["price-trace"], { steps: true }),
    stock: new Trace(this.#parts["stock-trace"], { steps: true }),
  };

  constructor(client, pins, roundtrip) {
    this.#pins = pins;
    this.#roundtrip = roundtrip;
    this.#change = new Change(client, roundtrip);
    this.#watch = client.watch(COLLECTION, [], (state) => this.#take(state), {
      onLive: () => this.showLiveness(),
      onFreshness: () => this.showLiveness(),
      onError: (error) => this.showLiveness(error),
    });
    this.#parts.pin.addEventListener("click", () => this.sku && pins.toggle(this.sku));
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Shows `sku` from now on; `name` is what the catalogue calls it, until its record is here. Without a SKU, nothing. */
  show(sku, name) {
    if (sku === this.sku) return;
    this.sku = sku;
    this.#state = null;
    this.#history = new History();
    this.#clear(sku, name);
    this.#watch.show(sku ? [sku] : []);
  }

  /** What is shown may not be live any more, or again; with an `error` it was refused and never will be. */
  showLiveness(error) {
    if (!this.sku) return;
    const live = !error && this.#watch.isLive;
    if (live) this.#lostAt = null;
    else this.#lostAt ??= Date.now();
    const stale = live && this.#watch.ageMs !== undefined;
    const shown = stale ? "stale" : live ? "yes" : this.#state ? "lost" : "no";
    this.#parts.liveness.dataset.live = this.#parts["product-body"].dataset.live = shown;
    this.#showStale(stale);
    write(this.#parts["liveness-text"], stale ? `Last proven ${ago(this.#watch.ageMs)} ago` : this.#livenessText(live, error));
  }

  /** The product may have been put on the wall, or taken down. */
  showPin() {
    const pinned = Boolean(this.sku) && this.#pins.has(this.sku);
    this.#parts.pin.setAttribute("aria-pressed", String(pinned));
    write(this.#parts["pin-text"], pinned ? "Watched" : "Watch");
  }

  /** Of several databases, the one that has the product, and its servers. */
  showPlace(sku, place) {
    if (sku === this.sku) write(this.#parts.place, placeText(place));
  }

  #livenessText(live, error) {
    if (live) return "Live";
    if (error) return `The server refused to watch this product: ${error.message}`;
    if (this.#state) return `Not live since ${timeOfDay(this.#lostAt)}`;
    return "Waiting for the server";
  }

  #clear(sku, name) {
    const { name: heading, price, stock, version, place, changes, announce, facts } = this.#parts;
    this.#parts["product-empty"].hidden = Boolean(sku);
    this.#parts["product-body"].hidden = !sku;
    write(this.#parts.sku, sku ?? "");
    write(version, "");
    write(place, "");
    write(heading, name ?? sku ?? "");
    for (const figure of [price, stock]) writeFigure(figure, "–");
    for (const id of ["absent", "stale"]) this.#parts[id].hidden = true;
    this.#parts.gauges.hidden = false;
    this.#parts["changes-none"].hidden = false;
    changes.replaceChildren();
    write(announce, "");
    write(facts, "");
    this.#change.clear(sku);
    this.#drawTraces();
    this.showPin();
    this.showLiveness();
    document.title = sku ? `${name ?? sku} · Freshet` : "Freshet";
  }

  #take(state) {
    if (state.key !== this.sku) return;
    const previous = this.#state;
    const now = Date.now();
    this.#state = state;
    const { value } = state;
    write(this.#parts.version, state.version === 0 ? "" : `version ${state.version}`);
    this.#parts.version.title = `stamp ${state.stamp}`;
    this.#parts.absent.hidden = value !== null;
    this.#parts.gauges.hidden = value === null;
    this.#showFigures(value, previous?.value);
    this.#history.note(value, now);
    this.#drawTraces();
    if (previous && previous.stamp !== state.stamp) {
      this.#parts["changes-none"].hidden = true;
      logChange(this.#parts.changes, state, previous, now);
    }
    this.#change.take(state);
    this.#roundtrip.drew(state.key, state.version);
    this.#announceSoon();
    this.showLiveness();
  }

  #showFigures(value, before) {
    const both = value && before;
    writeFigure(this.#parts.price, value ? money(value.price, value.currency) : "–", both ? value.price - before.price : 0);
    writeFigure(this.#parts.stock, value ? count(value.stock) : "–", both ? value.stock - before.stock : 0);
    this.#parts.stock.classList.toggle("none", value?.stock === 0);
    for (const id of ["price", "stock"]) fitFigure(this.#parts[id]);
    if (!value) return;
    write(this.#parts.name, title(value.name));
    write(this.#parts.facts, factsOf(value.attributes ?? {}));
    document.title = `${title(value.name)} · Freshet`;
  }

  #drawTraces() {
    const texts = { price: (value) => moneyShort(value, this.#state?.value?.currency), stock: count };
    for (const [field, trace] of Object.entries(this.#traces)) {
      const view = this.#history.view(field, Date.now());
      trace.draw(view ? [view.points] : [[]], view ?? { from: 0, to: 1, low: 0, high: 1 });
      write(this.#parts[`${field}-range`], view ? rangeText(view, texts[field]) : "");
    }
  }

  #showStale(stale) {
    this.#parts.stale.hidden = !stale;
    const { provenAt } = this.#watch.freshness(this.sku);
    if (stale) write(this.#parts.stale, `What changed after ${timeOfDay(provenAt)} may be missing here: the server cannot read it from the database.`);
  }

  #tick() {
    this.#drawTraces();
    this.showLiveness();
  }

  #announceSoon() {
    if (this.#announceTimer) return;
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = 0;
      const value = this.#state?.value;
      const text = value ? `${money(value.price, value.currency)}, ${count(value.stock)} in stock` : "";
      if (text === this.#announced) return;
      this.#announced = this.#parts.announce.textContent = text;
    }, ANNOUNCE_EVERY_MS);
  }
}

// The line has no room for an axis; it seldom begins at zero, and so the text says where.
function rangeText({ low, high, seconds }, text) {
  if (low === high) return seconds > 0 ? `Unchanged for ${seconds} s` : "";
  return `Line from ${text(low)} to ${text(high)}, ${Math.max(1, seconds)} s`;
}

// Its year in the shop, in a line.
function factsOf({ units_sold: units, orders, customers, top_countries: countries }) {
  return [
    Number.isFinite(units) ? `${count(units)} sold in a year` : null,
    Number.isFinite(orders) ? `${count(orders)} orders` : null,
    Number.isFinite(customers) ? `${count(customers)} customers` : null,
    Array.isArray(countries) && countries.length > 0 ? `most in ${countries[0]}` : null,
  ].filter(Boolean).join(" · ");
}
