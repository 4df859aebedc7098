// The demo page: a list of products, one of them in detail, both live over one connection.
//
// The address says what is shown: `/#85123A` is a product, `/` the list. A wide screen shows both side by side.

import { Finder } from "/finder.js";
import { duration } from "/format.js";
import { Product } from "/product.js";
import { Connection } from "/socket.js";

const COUNTDOWN_EVERY_MS = 500;

const socketUrl = new URL("/v1/ws", location.href);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

const link = new Connection(socketUrl);
const wide = matchMedia("(min-width: 56rem)");
const finder = new Finder(link, (sku) => { location.hash = encodeURIComponent(sku); });
const product = new Product(link);

// ---- what is shown ----

function skuOfAddress() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// Without a product in the address a wide screen shows the first of the list rather than nothing.
function route() {
  const asked = skuOfAddress();
  const sku = asked || (wide.matches ? finder.first : null) || null;
  document.body.dataset.view = asked ? "product" : "list";
  finder.setVisible(wide.matches || !asked);
  finder.select(sku);
  product.show(sku, sku ? finder.nameOf(sku) : null);
}

// On a phone a chosen product is a new screen: begin at its top, and let the keyboard and the reader follow. On the way
// back to the list the browser knows where the reader was.
function routeAndMove() {
  route();
  if (wide.matches || !skuOfAddress()) return;
  scrollTo(0, 0);
  document.getElementById("product").focus({ preventScroll: true });
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

// ---- the connection's state ----

const chip = document.getElementById("link");
const chipText = document.getElementById("link-text");
const chipWait = document.getElementById("link-wait");
const retry = document.getElementById("link-retry");

function showLink() {
  const { name, drained, why } = link.state;
  const texts = {
    connecting: "Connecting",
    open: "Connected",
    waiting: drained ? "Server restarting" : "Disconnected",
    stopped: why,
  };
  chip.dataset.state = name;
  if (chipText.textContent !== texts[name]) chipText.textContent = texts[name];
  retry.hidden = name !== "waiting" && name !== "stopped";
  countDown();
  product.showLiveness();
}

function countDown() {
  const { name, until } = link.state;
  chipWait.textContent = name === "waiting" ? `back in ${duration(until - Date.now())}` : "";
}

link.onstate = showLink;
setInterval(countDown, COUNTDOWN_EVERY_MS);
retry.addEventListener("click", () => link.connect());
addEventListener("online", () => link.wake());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && link.wake());
// A page kept for the back button must not hold a connection; it opens one when it is shown again.
addEventListener("pagehide", () => link.close());
addEventListener("pageshow", (event) => event.persisted && link.connect());

route();
link.connect();
await finder.load();
route();
