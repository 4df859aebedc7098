// What time it is in the shop whose sales are replayed, and what about it is simulated.

import { count } from "/format.js";
import { write } from "/element.js";

// The shop's own clock, which the data gives without a zone.
const clock = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC",
});
const HOURS = { open: "open", closed: "closed, on to the next morning", over: "the year is over" };

const parts = Object.fromEntries(["shop", "shop-clock", "shop-hours", "simulated"].map((id) => [id, document.getElementById(id)]));

/** Shows the shop of a snapshot; without one, nothing. */
export function showShop(shop) {
  parts.shop.hidden = !shop?.at;
  parts.simulated.hidden = !shop;
  if (!shop) return;
  write(parts.simulated, simulated(shop));
  if (!shop.at) return;
  const at = new Date(shop.at * 1000);
  write(parts["shop-clock"], clock.format(at));
  parts["shop-clock"].dateTime = at.toISOString().slice(0, 16);
  write(parts["shop-hours"], HOURS[shop.hours] ?? "");
  parts.shop.dataset.hours = shop.hours;
}

function simulated({ at, hours, speed, readers }) {
  const sales = at && hours !== "over" ? `The sales are a real shop's of 2009–10, replayed ${count(speed)} times as fast; closed hours pass at once.` : "";
  const reads = readers > 0 ? `The visitors are simulated: ${count(readers)} reads a second, one in twenty of a product that does not exist.` : "";
  return [sales, reads].filter(Boolean).join(" ");
}
