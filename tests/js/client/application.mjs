// What a page of the hooks' test runs.

import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Client } from "../../../clients/typescript/dist/index.js";
import { FreshetProvider, useConnection, useRecord } from "../../../clients/typescript/dist/react.js";

function Price({ collection, sku }) {
  const { record, error, isFresh } = useRecord(collection, sku);
  if (error) return `${sku}:${error.reason} `;
  return `${sku}:${record ? (record.value?.price ?? "none") : "..."}${isFresh ? "" : "?"} `;
}

function Connection() {
  return `${useConnection().status} `;
}

let client;
let root;

/** Shows the connection and the prices of `keys`. */
globalThis.show = (url, keys, collection = "products") => {
  client ??= new Client(url, { backoffBaseMs: 20, backoffCapMs: 200 });
  root ??= createRoot(document.getElementById("root"));
  const prices = keys.map((sku, at) => createElement(Price, { key: at, collection, sku }));
  root.render(
    createElement(StrictMode, null, createElement(FreshetProvider, { client }, createElement(Connection), ...prices)),
  );
};
