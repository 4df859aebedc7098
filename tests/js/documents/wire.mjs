// A WebSocket that keeps what it hears as it came.

import { once } from "node:events";

import WebSocket from "ws";

import { until } from "../until.mjs";

/** An open connection. */
export class Wire {
  /** Every message sent and received, parsed, in order of each. */
  sent = [];
  received = [];
  /** The code of its end. */
  code = null;

  #socket;
  #ids = 0;

  static async open(url) {
    const socket = new WebSocket(url, "freshet.v1");
    const wire = new Wire(socket);
    await once(socket, "open");
    return wire;
  }

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (text) => this.received.push(JSON.parse(text)));
    socket.on("close", (code) => (this.code = code));
  }

  get pushes() {
    return this.received.filter(({ method }) => method === "freshet_subscription");
  }

  /** Sends a message as it is. */
  send(message) {
    this.sent.push(message);
    this.#socket.send(JSON.stringify(message));
  }

  /** Sends text that need not be JSON. */
  raw(text) {
    this.#socket.send(text);
  }

  /** Calls a method; answers the whole response. */
  async call(method, params) {
    const id = (this.#ids += 1);
    this.send({ jsonrpc: "2.0", id, method, params });
    return this.heard(`an answer to ${method}`, (message) => message.id === id);
  }

  /** Waits for a message that `is` what is meant. */
  heard(what, is) {
    return until(what, () => this.received.find(is));
  }

  close() {
    this.#socket.close();
  }
}
