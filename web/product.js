// One product, live: its figures, where they come from, and a form to change them.

import { writeFigure } from "/figure.js";
import { count, currencySymbol, date, difference, money, moneyInput, parseMoney, timeOfDay } from "/format.js";
import { LinkError, RpcError } from "/socket.js";

const COLLECTION = "products";
const CHANGES_MAX = 12;
// A screen reader hears the latest figures this often at most, however fast they move.
const ANNOUNCE_EVERY_MS = 3_000;
// A record whose freshness was not proven is asked for again until it is.
const REFRESH_STALE_MS = 3_000;
const VERSION_CONFLICT = -32006;
const CONFLICT_RETRIES = 4;

export class Product {
  #link;
  #watch;
  #sku = null;
  #record = null;
  #editing = null; // What the price was, and its newest stamp, when somebody began to type another.
  #announceTimer = 0;
  #announced = "";

  #parts = Object.fromEntries([...document.querySelectorAll("#product [id]")].map((part) => [part.id, part]));

  constructor(link) {
    this.#link = link;
    this.#watch = link.watch(COLLECTION, (record, previous) => this.#take(record, previous));
    const { "price-form": form, "new-price": input } = this.#parts;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#setPrice();
    });
    input.addEventListener("input", () => this.#edit());
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.#step(Number(button.dataset.step)));
    }
    setInterval(() => this.#refreshStale(), REFRESH_STALE_MS);
  }

  /** Shows `sku` from now on; `name` is what the catalogue calls it, until its record is here. Without a SKU, nothing. */
  show(sku, name) {
    if (sku === this.#sku) return;
    this.#sku = sku;
    this.#record = null;
    this.#clear(sku, name);
    this.#watch.show(sku ? [sku] : []);
    const known = sku && this.#link.record(COLLECTION, sku);
    if (known) this.#take(known);
  }

  /** The connection's state has changed: what is shown may not be live any more, or again. */
  showLiveness() {
    if (!this.#sku) return;
    const live = this.#watch.live;
    const state = live ? "yes" : this.#record ? "lost" : "no";
    this.#parts.liveness.dataset.live = this.#parts["product-body"].dataset.live = state;
    this.#parts["liveness-text"].textContent = this.#livenessText(live);
  }

  #livenessText(live) {
    if (live) return "Live: every committed change appears here";
    if (this.#watch.error) return `The server refused to watch this product: ${this.#watch.error.message}`;
    const { heardAt } = this.#link;
    if (this.#record) return `As it was at ${timeOfDay(Math.max(this.#record.receivedAt, heardAt))}; changes since then are not shown`;
    return "Waiting for the server";
  }

  // ---- what is shown ----

  #clear(sku, name) {
    const { name: title, price, stock, changes, announce } = this.#parts;
    this.#parts["product-empty"].hidden = Boolean(sku);
    this.#parts["product-body"].hidden = !sku;
    this.#parts.sku.textContent = sku ?? "";
    title.textContent = name ?? sku ?? "";
    for (const figure of [price, stock]) writeFigure(figure, "–");
    for (const id of ["version", "absent", "stale", "price-note", "facts-panel"]) this.#parts[id].hidden = true;
    this.#parts.gauges.hidden = false;
    this.#parts["changes-none"].hidden = false;
    this.#parts["new-price"].value = "";
    changes.replaceChildren();
    announce.textContent = "";
    this.#editing = null;
    this.#say("");
    this.#allowWrites(false);
    this.showLiveness();
    document.title = sku ? `${name ?? sku} · Freshet` : "Freshet";
  }

  #take(record, previous = this.#record) {
    if (record.key !== this.#sku) return;
    this.#record = record;
    const { value } = record;
    this.#parts.version.textContent = `version ${record.version}`;
    this.#parts.version.title = `stamp ${record.stamp}`;
    this.#parts.version.hidden = record.version === 0;
    this.#parts.absent.hidden = value !== null;
    this.#parts.gauges.hidden = value === null;
    this.#allowWrites(value !== null);
    this.#showStale(record.stale_ms);
    this.#showFigures(value, previous?.value);
    if (previous && previous.version !== record.version) this.#logChange(record, previous);
    if (value) this.#showFacts(value);
    this.#followEdit();
    this.#announceSoon();
    this.showLiveness();
  }

  #showFigures(value, before) {
    const both = value && before;
    writeFigure(this.#parts.price, value ? money(value.price, value.currency) : "–", both ? value.price - before.price : 0);
    writeFigure(this.#parts.stock, value ? count(value.stock) : "–", both ? value.stock - before.stock : 0);
    this.#parts.stock.classList.toggle("none", value?.stock === 0);
    if (!value) return;
    this.#parts.name.textContent = value.name;
    this.#parts["new-price-unit"].textContent = ` in ${currencySymbol(value.currency)}`;
    this.#parts["new-price"].placeholder = moneyInput(value.price, value.currency);
    document.title = `${value.name} · Freshet`;
  }

  #showStale(staleMs) {
    const stale = Number.isFinite(staleMs);
    this.#parts.stale.hidden = !stale;
    if (stale) {
      this.#parts.stale.textContent = `May be out of date: the server could last prove it fresh ${(staleMs / 1000).toFixed(1)} s ago.`;
    }
  }

  #showFacts({ attributes }) {
    const facts = factsOf(attributes ?? {});
    this.#parts["facts-panel"].hidden = facts.length === 0;
    this.#parts.facts.replaceChildren(...facts.map(([term, text]) => {
      const group = document.createElement("div");
      group.append(element("dt", "", term), element("dd", "", text));
      return group;
    }));
  }

  #logChange(record, previous) {
    const { changes } = this.#parts;
    this.#parts["changes-none"].hidden = true;
    const at = element("time", "", timeOfDay(record.receivedAt));
    at.dateTime = new Date(record.receivedAt).toISOString();
    const what = element("span", "what", ...changesOf(record.value, previous.value));
    changes.prepend(element("li", "", at, what, element("span", "version", `v${record.version}`)));
    while (changes.children.length > CHANGES_MAX) changes.lastChild.remove();
  }

  #announceSoon() {
    if (this.#announceTimer) return;
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = 0;
      const value = this.#record?.value;
      const text = value ? `${money(value.price, value.currency)}, ${count(value.stock)} in stock` : "";
      if (text === this.#announced) return;
      this.#announced = this.#parts.announce.textContent = text;
    }, ANNOUNCE_EVERY_MS);
  }

  async #refreshStale() {
    if (!Number.isFinite(this.#record?.stale_ms)) return;
    await this.#link.get(COLLECTION, this.#sku).catch(() => {}); // The note stays, which is the truth.
  }

  // ---- what is changed ----

  // A price is set on the condition that it is still the one that was there when typing began. Stock moves under a
  // price all the time, and a stamp covers both: so the stamp follows for as long as the price stays the same.
  #edit() {
    const typed = this.#parts["new-price"].value.trim();
    if (typed === "") this.#editing = null;
    else if (!this.#editing && this.#record?.value) this.#editing = { price: this.#record.value.price, stamp: this.#record.stamp };
    this.#followEdit();
  }

  #followEdit() {
    const value = this.#record?.value;
    const note = this.#parts["price-note"];
    note.hidden = true;
    if (!this.#editing || !value) return;
    if (value.price === this.#editing.price) this.#editing.stamp = this.#record.stamp;
    note.hidden = value.price === this.#editing.price;
    note.textContent = `The price went from ${money(this.#editing.price, value.currency)} to ${money(value.price, value.currency)} as you typed.`;
  }

  async #setPrice() {
    const input = this.#parts["new-price"];
    const currency = this.#record?.value?.currency;
    const price = parseMoney(input.value, currency);
    if (price === null || !this.#editing) {
      this.#say(`Enter a price such as ${input.placeholder}.`, "error");
      return input.focus();
    }
    if (await this.#write(() => this.#patchPrice(price))) {
      input.value = "";
      this.#edit();
    }
  }

  async #patchPrice(price) {
    const editing = this.#editing;
    const sku = this.#sku;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#link.write("patch", { collection: COLLECTION, key: sku, value: { price }, if_stamp: editing.stamp });
      } catch (error) {
        if (error.code !== VERSION_CONFLICT) throw error;
        const now = await this.#link.get(COLLECTION, sku, { min_stamp: error.data.stamp });
        const same = now?.value?.price === editing.price;
        if (same && attempt < CONFLICT_RETRIES) continue; // Only the stock has moved, and the stamp has followed.
        // Somebody else's price: it is on the screen now, and setting again would be meant.
        if (sku === this.#sku && now?.value) this.#editing = { price: now.value.price, stamp: now.stamp };
        throw error;
      }
    }
  }

  #step(by) {
    const sku = this.#sku;
    this.#write(() => this.#link.write("patch", { collection: COLLECTION, key: sku, increment: { stock: by } }));
  }

  // Runs one write and tells how it went, unless another product is shown by then.
  async #write(send) {
    const sku = this.#sku;
    const begun = performance.now();
    this.#say("");
    try {
      const { version } = await send();
      const ms = Math.max(1, Math.round(performance.now() - begun));
      if (sku === this.#sku) this.#say(`Committed as version ${version}, in ${ms} ms.`, "done");
      return true;
    } catch (error) {
      if (!(error instanceof RpcError || error instanceof LinkError)) throw error;
      if (sku === this.#sku) this.#say(failureText(error), "error");
      return false;
    }
  }

  #say(text, kind = "") {
    const { message } = this.#parts;
    message.textContent = text;
    message.dataset.kind = kind;
    const wrong = kind === "error" && document.activeElement === this.#parts["new-price"];
    this.#parts["new-price"].setAttribute("aria-invalid", String(wrong));
  }

  #allowWrites(allowed) {
    for (const control of this.#parts.gauges.querySelectorAll("input, button")) control.disabled = !allowed;
  }
}

function failureText(error) {
  if (error instanceof LinkError) return `${error.sent ? "Not confirmed, it may still happen" : "Not sent"}: ${error.message}.`;
  const advice = error.code === VERSION_CONFLICT ? " Somebody else changed the price; set yours again if you still mean it." : "";
  return `${error.message} · ${error.reason ?? "error"} ${error.code}.${advice}`;
}

// What differs between two states, in words; another column than those on the screen is named.
function changesOf(value, before) {
  if (!value) return ["Deleted"];
  if (!before) return ["Written: ", money(value.price, value.currency), `, ${count(value.stock)} in stock`];
  const changes = [];
  if (value.stock !== before.stock) changes.push(...moved("Stock", count(before.stock), count(value.stock), value.stock - before.stock, difference));
  if (value.price !== before.price || value.currency !== before.currency) {
    if (changes.length) changes.push(", ");
    const [from, to] = [money(before.price, before.currency), money(value.price, value.currency)];
    changes.push(...moved(changes.length ? "price" : "Price", from, to, value.price - before.price));
  }
  if (changes.length) return changes;
  const columns = Object.keys(value).filter((column) => JSON.stringify(value[column]) !== JSON.stringify(before[column]));
  return [columns.length ? `Changed: ${columns.join(", ")}` : "Written again"];
}

function moved(what, from, to, by, describe) {
  const change = element("span", by < 0 ? "down" : "up", to);
  return [`${what} ${from} → `, change, ...(describe ? [` (${describe(by)})`] : [])];
}

function factsOf(attributes) {
  const { units_sold, orders, customers, top_countries, first_sold, last_sold } = attributes;
  return [
    ["Units sold", units_sold === undefined ? null : count(units_sold)],
    ["Orders", orders === undefined ? null : count(orders)],
    ["Customers", customers === undefined ? null : count(customers)],
    ["First sold", first_sold ? date(first_sold) : null],
    ["Last sold", last_sold ? date(last_sold) : null],
    ["Sold most to", Array.isArray(top_countries) ? top_countries.join(", ") : null],
  ].filter(([, text]) => text);
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
