// The keys of the page: "/" searches from anywhere, P watches what is before you, the arrows walk, Escape leads back.

const WALKS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** `search()` begins a search, `pin(sku)` watches or lets go of a product; without one, of that in detail. */
export function listen({ search, pin }) {
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const typing = event.target.closest?.("input");
    if (event.key === "/" && !typing) search();
    else if (event.key.toLowerCase() === "p" && !typing) pin(event.target.closest?.("[data-sku]")?.dataset.sku);
    else if (!walk(event, typing, search)) return;
    event.preventDefault();
  });
}

// From the field into the rows and along them; along the tiles of the wall.
function walk({ key, target }, typing, search) {
  if (key === "Escape") return escape(target, search);
  const list = typing?.id === "query" ? document.getElementById("results") : target.closest?.("#results, #tiles");
  const by = WALKS[key];
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  if (!list || !by || (sideways && list.id === "results")) return false;
  const stops = [...list.querySelectorAll("a")];
  const next = stops.indexOf(target.closest("li")?.querySelector("a")) + by; // The field comes before the first row.
  if (next < 0 && list.id === "results") search();
  else stops[next]?.focus();
  return true;
}

function escape(target, search) {
  if (target.closest?.("#results, #tiles")) search();
  else if (target.id === "query" && target.value === "") target.blur();
  else return false; // A search field empties itself, and a form keeps what was typed.
  return true;
}
