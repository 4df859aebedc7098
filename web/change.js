// The controls that change a product: a new price, one sold, some restocked. What was done here stays in words, with what others
// have made of it since.

import { count, currencySymbol, money, moneyInput, parseMoney, timeOfDay } from "/format.js";
import { FreshetError, idempotencyKey } from "/freshet.js";

const COLLECTION = "products";
const CONFLICT_RETRIES = 4;

export class Change {
  #client;
  #roundtrip;
  #state = null;
  #sku = null;
  #done = null; // The last change made here: { field, to or by, version }, and what the field became since.
  #editing = null; // What the price was, and its newest stamp, when somebody began to type another.

  #parts = Object.fromEntries(["gauges", "message", "new-price", "new-price-unit", "price-form", "price-note", "since"].map((id) => [id, document.getElementById(id)]));

  /** `roundtrip` measures how long each change takes. */
  constructor(client, roundtrip) {
    this.#client = client;
    this.#roundtrip = roundtrip;
    this.#parts["price-form"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#setPrice();
    });
    this.#parts["new-price"].addEventListener("input", () => this.#edit());
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.#step(Number(button.dataset.step)));
    }
  }

  /** Another product is shown, whose record is not here yet. */
  clear(sku) {
    this.#sku = sku;
    this.#state = null;
    this.#done = null;
    this.#editing = null;
    this.#parts["new-price"].value = "";
    this.#parts["price-note"].hidden = true;
    this.#say("");
    this.#allow(false);
  }

  /** The product has a new state. */
  take(state) {
    this.#state = state;
    this.#allow(state.value !== null);
    if (state.value) {
      const { price, currency } = state.value;
      this.#parts["new-price-unit"].textContent = ` in ${currencySymbol(currency)}`;
      this.#parts["new-price"].placeholder = moneyInput(price, currency);
    }
    this.#followEdit();
    this.#followDone();
  }

  // A price is set on the condition that it is still the one that was there when typing began. Stock moves under a
  // price all the time, and a stamp covers both: so the stamp follows for as long as the price stays the same.
  #edit() {
    const typed = this.#parts["new-price"].value.trim();
    if (typed === "") this.#editing = null;
    else if (!this.#editing && this.#state?.value) this.#editing = { price: this.#state.value.price, stamp: this.#state.stamp };
    this.#followEdit();
  }

  #followEdit() {
    const value = this.#state?.value;
    const note = this.#parts["price-note"];
    note.hidden = true;
    if (!this.#editing || !value) return;
    if (value.price === this.#editing.price) this.#editing.stamp = this.#state.stamp;
    note.hidden = value.price === this.#editing.price;
    note.textContent = `The price went from ${money(this.#editing.price, value.currency)} to ${money(value.price, value.currency)} as you typed.`;
  }

  async #setPrice() {
    const input = this.#parts["new-price"];
    const price = parseMoney(input.value, this.#state?.value?.currency);
    if (price === null || !this.#editing) {
      this.#say(`Enter a price such as ${input.placeholder}.`, "error");
      return input.focus();
    }
    if (await this.#write({ field: "price", to: price }, () => this.#patchPrice(price))) {
      input.value = "";
      this.#edit();
    }
  }

  async #patchPrice(price) {
    const editing = this.#editing;
    const sku = this.#sku;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#patch(sku, { merge: { price } }, { ifStamp: editing.stamp });
      } catch (error) {
        if (error.reason !== "version_conflict") throw error;
        const now = await this.#client.get(COLLECTION, sku, { minStamp: error.data.stamp });
        const same = now.value?.price === editing.price;
        if (same && attempt < CONFLICT_RETRIES) continue; // Only the stock has moved, and the stamp has followed.
        // Somebody else's price: it is on the screen now, and setting again would be meant.
        if (sku === this.#sku && now.value) this.#editing = { price: now.value.price, stamp: now.stamp };
        throw error;
      }
    }
  }

  #step(by) {
    const sku = this.#sku;
    this.#write({ field: "stock", by }, () => this.#patch(sku, { increment: { stock: by } }));
  }

  // Done once, whatever becomes of the connection: a write that is named may be repeated.
  #patch(sku, change, options = {}) {
    return this.#client.patch(COLLECTION, sku, change, { ...options, idempotencyKey: idempotencyKey() });
  }

  // Runs one write and tells how it went, unless another product is shown by then.
  async #write(done, send) {
    const sku = this.#sku;
    const begun = performance.now();
    const committed = this.#roundtrip.begin(sku);
    this.#done = null;
    this.#say("");
    try {
      const { version } = await send();
      committed(version);
      const ms = Math.max(1, Math.round(performance.now() - begun));
      if (sku !== this.#sku) return true;
      this.#done = { ...done, version };
      this.#say(doneText(this.#done, ms, this.#state?.value?.currency), "done");
      this.#followDone();
      return true;
    } catch (error) {
      committed();
      if (!(error instanceof FreshetError)) throw error;
      if (sku === this.#sku) this.#say(failureText(error), "error");
      return false;
    }
  }

  // What others have made of the last change here; its own state may come before the answer, or after it.
  #followDone() {
    const [done, state] = [this.#done, this.#state];
    if (!done || !state?.value || state.version < done.version) return;
    const value = state.value[done.field];
    done.first ??= value;
    if (value !== done.now) [done.now, done.nowVersion, done.nowAt] = [value, state.version, Date.now()];
    this.#parts.since.textContent = sinceText(done, state.value.currency);
  }

  #say(text, kind = "") {
    const { message } = this.#parts;
    message.textContent = text;
    this.#parts.since.textContent = "";
    message.dataset.kind = kind;
    const wrong = kind === "error" && document.activeElement === this.#parts["new-price"];
    this.#parts["new-price"].setAttribute("aria-invalid", String(wrong));
  }

  #allow(allowed) {
    for (const control of this.#parts.gauges.querySelectorAll("input, button")) control.disabled = !allowed;
  }
}

function doneText({ field, to, by, version }, ms, currency) {
  const what = field === "price" ? `You set ${money(to, currency)}` : by < 0 ? `You sold ${count(-by)}` : `You restocked ${count(by)}`;
  return `${what} at ${timeOfDay(Date.now())}: committed as version ${version}, in ${ms} ms.`;
}

// The replayed sales leave a price alone that was set by hand, and take from the stock as any buyer does.
function sinceText({ field, to, first, now, nowVersion, nowAt }, currency) {
  if (field === "price") return now === to ? "" : `Another client set ${money(now, currency)} at ${timeOfDay(nowAt)}, as version ${nowVersion}.`;
  if (now === first) return "";
  return `${now < first ? `Sales and other clients took ${count(first - now)}` : `Other clients added ${count(now - first)}`} since, the last at ${timeOfDay(nowAt)}.`;
}

function failureText({ code, reason, message }) {
  const advice = reason === "version_conflict" ? " Somebody else changed the price; set yours again if you still mean it." : "";
  return `${message} · ${reason || "error"} ${code}.${advice}`;
}
