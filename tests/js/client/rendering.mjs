// What a server that renders runs: a client at the top of the module, though there is no WebSocket.

import { renderToString } from "react-dom/server";

import { Client } from "../../../clients/typescript/dist/index.js";
import { treeOf } from "./components.mjs";

delete globalThis.WebSocket;
const client = new Client("/v1/ws");

export function render(parts) {
  return renderToString(treeOf(client, parts));
}
