// The components of the hooks' tests, for pages and for a server that renders. Texts say how a record stands: `?` not fresh, `!` stale,
// `~` with writes not committed yet, `*` live.

import { Activity, createElement, StrictMode, useLayoutEffect } from "react";

import { FreshetProvider, useConnection, useMutation, useRecord, useRecords } from "../../../clients/typescript/dist/react/index.js";

const marks = ({ isFresh, isStale, isOptimistic }) => `${isFresh ? "" : "?"}${isStale ? "!" : ""}${isOptimistic ? "~" : ""}`;
const figure = (record, column) => (record ? (record.value?.[column] ?? "none") : "...");

function Connection() {
  return `${useConnection().status} `;
}

function Price({ sku, collection = "products", initial }) {
  const used = useRecord(collection, sku, { initial });
  if (used.error) return `${sku}:${used.error.reason} `;
  return `${sku}:${figure(used.record, "price")}${marks(used)} `;
}

function Detail({ sku, initial }) {
  const { record, isLive } = useRecord("products", sku, { initial });
  return `[${sku}=${figure(record, "price")}${isLive ? "*" : ""}] `;
}

function List({ skus }) {
  return skus && useRecords("products", skus).map(({ record }) => figure(record, "price")).join(",");
}

// Slow to render, so that React takes several turns for a tree of them in a transition.
function Slow({ sku }) {
  const { record } = useRecord("products", sku);
  const until = performance.now() + 5;
  while (performance.now() < until);
  return `${figure(record, "stock")} `;
}

function Stock({ sku }) {
  const used = useRecord("products", sku);
  const mutation = useMutation("products", sku);
  globalThis.mutations[sku] = mutation;
  const { isPending, error } = mutation;
  return `${sku}:${figure(used.record, "stock")}${marks(used)}${isPending ? " pending" : ""}${error ? ` ${error.reason}` : ""} `;
}

const KINDS = { connection: Connection, price: Price, detail: Detail, list: List, slow: Slow, stock: Stock };

/** The tree of an application that shows the parts, `[kind, props, name]` each; `shown` gets each text that it ever has. */
export function treeOf(client, parts, { hidden = false, shown = [] } = {}) {
  const elements = parts.map(([kind, props, name], at) => createElement(KINDS[kind], { ...props, key: name ?? at }));
  const body = createElement(Activity, { mode: hidden ? "hidden" : "visible" }, elements);
  return createElement(StrictMode, null, createElement(FreshetProvider, { client }, createElement(Watched, { shown }, body)));
}

function Watched({ shown, children }) {
  useLayoutEffect(() => {
    const root = document.getElementById("root");
    const note = () => shown.at(-1) !== root.textContent && shown.push(root.textContent);
    const observer = new MutationObserver(note);
    observer.observe(root, { subtree: true, childList: true, characterData: true });
    note();
    return () => observer.disconnect();
  });
  return children;
}
