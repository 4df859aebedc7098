// The live view of the node: how fast commits reach screens, which tier answers, and what it does each second.

import { Trace } from "/chart.js";
import { element, write } from "/element.js";
import { bytes, count, milliseconds, percent, rate } from "/format.js";
import { showShop } from "/shop.js";
import { notFresh, Rates, Stats } from "/stats.js";

const SPAN_MS = 60_000;
// A share is taken over longer than a rate: of few reads it would jump.
const SHARE_OVER_MS = 10_000;

// Between two bars, as a share of their box.
const BAR_GAP = 0.006;

const sum = (counts) => Object.values(counts ?? {}).reduce((all, one) => all + one, 0);

const TIERS = [
  ["local", "L1, in this process"],
  ["filter", "Filter, absent keys"],
  ["shared", "Redis, for all nodes"],
  ["store", "Store, every record"],
  ["stale", "L1, not proven fresh"],
];
const RATES = [
  ["Filter refusals", ({ answers }) => answers.filter ?? 0],
  ["Store reads", (snapshot) => snapshot.store_reads],
  ["Writes", ({ writes }) => sum(writes)],
  ["Pushes", (snapshot) => snapshot.pushes],
  ["Conflated pushes", (snapshot) => snapshot.conflations],
];
const HELD = [
  ["Connections", ({ connections }) => count(connections)],
  ["Subscriptions", ({ watchers }) => count(watchers)],
  ["Records in L1", ({ local }) => count(local.entries)],
  ["Memory for them", ({ local }) => `${bytes(local.bytes)} of ${bytes(local.capacity)}`],
  ["Compared with the database", ({ audit }) => `${count(audit.audited)}, ${count(audit.wrong)} wrong`],
];

export class NodeView {
  #stats;
  #rates = new Rates();
  #delivery = []; // { at, p50, p99 }
  #meters;
  #held;
  #tiers;

  #parts = Object.fromEntries([...document.querySelectorAll("#node, #node [id]")].map((part) => [part.id, part]));
  #trace = new Trace(this.#parts["delivery-trace"], { lines: 2, area: true });

  /** `url` is the stream of the node's counters; `roundtrip` measures this page's own changes. */
  constructor(url, roundtrip) {
    this.#stats = new Stats(url);
    this.#stats.onsnapshot = (snapshot, at) => this.#show(snapshot, at);
    this.#stats.onlost = () => this.#lost();
    this.#tiers = TIERS.map(([name, label]) => new Tier(name, label));
    this.#parts.tiers.append(...this.#tiers.map((tier) => tier.row));
    this.#parts.shares.append(...this.#tiers.map((tier) => tier.bar));
    this.#meters = RATES.map(([label, read]) => new Meter(label, read));
    this.#parts.rates.append(...this.#meters.map((meter) => meter.element));
    this.#held = HELD.map(([label, read]) => ({ read, value: definition(this.#parts.held, label) }));
    roundtrip.onmeasure = () => this.#showOwn(roundtrip.last);
  }

  open() {
    this.#stats.open();
  }

  /** The page's connection is back, and so the node should be. */
  hasten() {
    this.#stats.hasten();
  }

  #show(snapshot, at) {
    this.#rates.add(snapshot, at);
    this.#parts.node.dataset.live = snapshot.fresh ? "yes" : "lost";
    const proof = snapshot.fresh ? "Fresh to within" : `${notFresh(snapshot.databases)} for`;
    write(this.#parts["node-fresh"], `${proof} ${milliseconds(snapshot.age_ms)}`);
    this.#showDelivery(snapshot.delivery, at);
    this.#showRedis(snapshot.redis);
    this.#showTiers();
    for (const meter of this.#meters) meter.show(this.#rates, at);
    for (const { read, value } of this.#held) write(value, read(snapshot));
    showShop(snapshot.shop);
  }

  #lost() {
    this.#rates.restart();
    this.#parts.node.dataset.live = "lost";
    write(this.#parts["node-fresh"], "No longer heard");
  }

  // A second in which nothing was sent has no latency: the line goes on from one that had.
  #showDelivery(delivery, at) {
    if (delivery?.count > 0) this.#delivery.push({ at, p50: delivery.p50_ms, p99: delivery.p99_ms });
    while (this.#delivery[0]?.at < at - SPAN_MS) this.#delivery.shift();
    const last = this.#delivery.at(-1);
    write(this.#parts["delivery-p50"], milliseconds(last?.p50));
    write(this.#parts["delivery-p99"], milliseconds(last?.p99));
    const high = ceiling(Math.max(0, ...this.#delivery.map(({ p99 }) => p99)));
    write(this.#parts["delivery-scale"], last ? milliseconds(high) : "");
    const line = (field) => this.#delivery.map((point) => ({ at: point.at, value: point[field] }));
    this.#trace.draw([line("p50"), line("p99")], { from: at - SPAN_MS, to: at, low: 0, high });
  }

  // Nodes without Redis have no row for it.
  #showRedis(redis) {
    const tier = this.#tiers.find(({ row }) => row.dataset.tier === "shared");
    tier.row.hidden = !redis;
    tier.hint = redis?.open === false ? "not in use" : redis?.switches?.reads === false ? "switched off" : "for all nodes";
  }

  #showTiers() {
    const rates = TIERS.map(([name]) => this.#rates.perSecond(({ answers }) => answers[name] ?? 0, SHARE_OVER_MS));
    const all = sum(rates);
    let before = 0;
    this.#tiers.forEach((tier, at) => {
      const share = all > 0 ? rates[at] / all : null;
      tier.show(rates[at], share, before);
      before += share ?? 0;
    });
  }

  #showOwn(last) {
    write(this.#parts.own, milliseconds(last[0]));
    write(this.#parts["own-last"], last.length > 1 ? `Before that ${last.slice(1).map(milliseconds).join(", ")}.` : "Measured in this browser.");
  }
}

/** One tier: its part of the bar, and its row beneath. */
class Tier {
  bar = element("span", "share");
  row = element("tr", "");

  #hint;
  #share = element("td", "value", "–");
  #rate = element("td", "value", "–");

  constructor(name, label) {
    this.bar.dataset.tier = name;
    const [key, ...rest] = label.split(", ");
    this.#hint = element("span", "hint", rest.join(", "));
    const head = element("th", "", element("span", "swatch"), key, " ", this.#hint);
    head.scope = "row";
    this.row.dataset.tier = name;
    this.row.append(head, this.#share, this.#rate);
    this.row.hidden = name === "shared";
  }

  set hint(text) {
    write(this.#hint, text);
  }

  /** `before` is the share of the tiers that stand before it. Bars are as wide as their box, and are moved and scaled. */
  show(perSecond, share, before) {
    write(this.#share, percent(share));
    write(this.#rate, rate(perSecond));
    this.bar.style.transform = `translateX(${100 * before}%) scaleX(${Math.max(0, (share ?? 0) - BAR_GAP)})`;
  }
}

/** One rate: its figure, and the line of its last minute. */
class Meter {
  element = element("div", "meter");

  #points = []; // { at, value }
  #read;
  #trace;
  #value;

  constructor(label, read) {
    this.#read = read;
    this.#value = element("dd", "value", "–");
    const box = element("dd", "trace");
    this.#trace = new Trace(box);
    this.element.append(element("dt", "", label), box, this.#value);
  }

  show(rates, at) {
    const value = rates.perSecond(this.#read);
    write(this.#value, rate(value));
    if (value === null) this.#points = [];
    else this.#points.push({ at, value });
    while (this.#points[0]?.at < at - SPAN_MS) this.#points.shift();
    const high = Math.max(1, ...this.#points.map((point) => point.value));
    this.#trace.draw([this.#points], { from: at - SPAN_MS, to: at, low: 0, high });
  }
}

function definition(list, label) {
  const value = element("dd", "value", "–");
  list.append(element("div", "meter", element("dt", "", label), value));
  return value;
}

// The next 1, 2 or 5 times a power of ten: a scale that does not change with each point.
function ceiling(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
