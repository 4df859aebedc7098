// The TypeScript client in Node, driven by lines of JSON.

import { createInterface } from "node:readline";

import WebSocket from "ws";

import { Client } from "../../../clients/typescript/dist/index.js";
import { adapter } from "./adapter.mjs";

const makeClient = (url, options) => new Client(url, { WebSocket, ...options });
const take = adapter(makeClient, (message) => console.log(JSON.stringify(message)));
for await (const line of createInterface({ input: process.stdin })) take(JSON.parse(line));
process.exit(0);
