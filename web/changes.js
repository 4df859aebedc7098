// The changes of one product that this page has seen, in words.

import { element } from "/element.js";
import { count, difference, moneyShort, timeOfDay } from "/format.js";

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
  if (!before) return ["Written: ", moneyShort(value.price, value.currency), `, ${count(value.stock)} in stock`];
  const changes = [];
  // The price comes first: a narrow line is cut at its end.
  if (value.price !== before.price || value.currency !== before.currency) {
    const [from, to] = [moneyShort(before.price, before.currency), moneyShort(value.price, value.currency)];
    changes.push(...moved("Price", from, to, value.price - before.price));
  }
  if (value.stock !== before.stock) {
    const [what, describe] = changes.length ? [", stock", null] : ["Stock", difference];
    changes.push(...moved(what, count(before.stock), count(value.stock), value.stock - before.stock, describe));
  }
  if (changes.length) return changes;
  const columns = Object.keys(value).filter((column) => JSON.stringify(value[column]) !== JSON.stringify(before[column]));
  return [columns.length ? `Changed: ${columns.join(", ")}` : "Written again"];
}

function moved(what, from, to, by, describe) {
  const change = element("span", by < 0 ? "down" : "up", to);
  return [`${what} ${from} → `, change, ...(describe ? [` (${describe(by)})`] : [])];
}
