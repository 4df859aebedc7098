// The changes of one product that this page has seen, in words.

import { element } from "/element.js";
import { count, difference, money, timeOfDay } from "/format.js";

const SHOWN = 3;

/** Puts a change on top of the list and lets the oldest go. */
export function logChange(list, state, previous, now) {
  const at = element("time", "", timeOfDay(now));
  at.dateTime = new Date(now).toISOString();
  const what = element("span", "what", ...wordsFor(state.value, previous.value));
  list.prepend(element("li", "", at, what, element("span", "version", `v${state.version}`)));
  while (list.children.length > SHOWN) list.lastChild.remove();
}

// What differs between two states; another column than those on the screen is named.
function wordsFor(value, before) {
  if (!value) return ["Deleted"];
  if (!before) return ["Written: ", money(value.price, value.currency), `, ${count(value.stock)} in stock`];
  const changes = [];
  if (value.stock !== before.stock) {
    changes.push(...moved("Stock", count(before.stock), count(value.stock), value.stock - before.stock, difference));
  }
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
