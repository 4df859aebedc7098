// The demo page: a shop's products to search, one in detail, a wall of those that are watched, and the node that keeps
// them all live over one connection.
//
// The address says what is shown: `/#85123A` is a product, `/` the list; on a phone `/#/watched` and `/#/node` are
// screens of their own. A wide screen shows everything side by side.

import { Finder } from "/finder.js";
import { Client } from "/freshet.js";
import { listen } from "/keys.js";
import { showLink } from "/link.js";
import { NodeView } from "/node.js";
import { Pins } from "/pins.js";
import { Product } from "/product.js";
import { Roundtrip } from "/roundtrip.js";
import { Tour } from "/tour.js";
import { Wall } from "/wall.js";
import { Whereabouts } from "/where.js";

const SCREENS = { "/watched": "wall", "/node": "node" };

const client = new Client("/v1/ws");
const wide = matchMedia("(min-width: 48rem)");
const pins = new Pins();
const roundtrip = new Roundtrip();
const finder = new Finder(client, open);
const product = new Product(client, pins, roundtrip);
const wall = new Wall(client, pins, (sku) => finder.nameOf(sku));
const node = new NodeView("/v1/stats/events", roundtrip);
const tour = new Tour();
const whereabouts = new Whereabouts();

// ---- what is shown ----

function open(sku) {
  location.hash = encodeURIComponent(sku);
}

function asked() {
  const text = decoded(location.hash.slice(1));
  const view = SCREENS[text] ?? (text ? "product" : "catalogue");
  return { view, sku: view === "product" ? text : null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Without a product in the address a wide screen shows the last one, or the first of the list, rather than nothing. Until
// there is a list its place is kept.
function route() {
  const { view, sku: named } = asked();
  const sku = named ?? (wide.matches ? product.sku ?? finder.first : null) ?? null;
  document.body.dataset.view = view;
  finder.setVisible(wide.matches || view === "catalogue");
  wall.setVisible(wide.matches || view === "wall");
  finder.select(sku);
  if (sku || finder.isLoaded) product.show(sku, sku ? finder.nameOf(sku) : null);
  whereabouts.follow(sku ?? finder.first ?? null);
  for (const tab of document.querySelectorAll("[data-tab]")) {
    const current = tab.dataset.tab === view || (view === "product" && tab.dataset.tab === "catalogue");
    if (current) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.getElementById("second").href = sku ? `/#${encodeURIComponent(sku)}` : "/";
}

// On a phone every address is a screen of its own: begin at its top, and let the keyboard and the reader follow. On the
// way back to the list the browser knows where the reader was.
function routeAndMove() {
  route();
  const { view } = asked();
  if (wide.matches || view === "catalogue") return;
  scrollTo(0, 0);
  document.getElementById(view).focus({ preventScroll: true });
}

addEventListener("hashchange", routeAndMove);
wide.addEventListener("change", route);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  finder.focus();
});
// A link to "#" leaves a bare "#" behind and jumps; the list has the clean address.
document.addEventListener("click", (event) => {
  if (!event.target.closest('a[href="#"]')) return;
  event.preventDefault();
  history.pushState(null, "", location.pathname);
  route();
  scrollTo(0, 0);
});
addEventListener("popstate", route);
listen({
  search: () => {
    if (!wide.matches) history.pushState(null, "", location.pathname);
    route();
    finder.focus();
  },
  pin: (sku) => (sku ?? product.sku) && pins.toggle(sku ?? product.sku),
});

// Beside this one, where the browser allows it: two windows are what there is to see.
document.getElementById("second").addEventListener("click", (event) => {
  const width = Math.min(900, Math.max(420, Math.round(screen.availWidth / 2)));
  const features = `popup,width=${width},height=${screen.availHeight},left=${screen.availWidth - width},top=0`;
  if (wide.matches && window.open(event.currentTarget.href, "_blank", features)) event.preventDefault();
});

// ---- what changes by itself ----

pins.onchange = () => {
  wall.arrange();
  product.showPin();
};

client.onState(({ status }) => {
  for (const part of [finder, product, wall]) part.showLiveness();
  if (status === "open") node.hasten();
});

whereabouts.onplace = (sku, place) => {
  product.showPlace(sku, place);
  tour.show(sku, place);
};

showLink(client);
route();
node.open();
await finder.load();
route();
await new Promise((resolve) => setTimeout(resolve)); // The list is drawn before the wall is built.
wall.fill(finder.best);
