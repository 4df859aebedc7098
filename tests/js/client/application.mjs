// What a page of the hooks' test runs: a small application, told from outside what to show, that keeps every text it has shown.

import { startTransition } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";

import { Client } from "../../../clients/typescript/dist/index.js";
import { treeOf } from "./components.mjs";

let client;
let root;
const container = () => document.getElementById("root");

/** Every text that the page has shown. */
const shown = (globalThis.shown = []);
/** The mutations of the components of kind `stock`, by SKU, and what became of their writes. */
globalThis.mutations = {};

globalThis.start = (url, options) => {
  client = new Client(url, { backoffBaseMs: 20, backoffCapMs: 200, ...options });
};

/** Shows the parts, `[kind, ...arguments]` each. */
globalThis.show = (parts, { hidden = false, transition = false } = {}) => {
  const tree = treeOf(client, parts, { hidden, shown });
  root ??= createRoot(container());
  if (transition) startTransition(() => root.render(tree));
  else root.render(tree);
};

/** Takes over what a server has rendered of the parts. */
globalThis.hydrate = (parts) => {
  root = hydrateRoot(container(), treeOf(client, parts, { shown }), { onRecoverableError: (error) => console.error(String(error)) });
};

globalThis.peek = (sku) => client.peek("products", sku);
