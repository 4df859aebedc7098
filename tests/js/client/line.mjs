// A line between a client and a server that understands WebSockets: it keeps what was said, and can be cut, held,
// made to refuse, and made to say what a server says only rarely.

import { once } from "node:events";
import { createServer } from "node:http";

import { WebSocket, WebSocketServer } from "ws";

import { until } from "../until.mjs";

/** Passes WebSockets on to one server. */
export class Line {
  /**
   * Every message so far, in order: `{ from: "client" | "server", message, connection, frame }`, the message parsed. Those of a
   * batch are listed one by one, with one number for their frame.
   */
  said = [];
  /** How many connections were taken so far. */
  taken = 0;

  #target;
  #http = null;
  #sockets = new WebSocketServer({ noServer: true });
  #pairs = new Set();
  #port = 0;
  #isHolding = false;
  #edit = (message) => message;
  #frames = 0;

  static async to(target) {
    const line = new Line(target);
    await line.accept();
    return line;
  }

  constructor(target) {
    this.#target = target;
  }

  /** Where clients connect. */
  get url() {
    return `ws://127.0.0.1:${this.#port}/v1/ws`;
  }

  /** What clients have asked with `method`, or all they asked; oldest first. */
  asked(method) {
    const requests = this.said.filter(({ from, message }) => from === "client" && message.method);
    return requests.map(({ message }) => message).filter((message) => !method || message.method === method);
  }

  /** In how many frames clients have asked with `method`. */
  framesOf(method) {
    const frames = this.said.filter(({ from, message }) => from === "client" && message.method === method);
    return new Set(frames.map(({ frame }) => frame)).size;
  }

  /** The pushes that passed for `key`. */
  pushed(key) {
    const pushes = this.said.filter(
      ({ from, message }) => from === "server" && message.method === "freshet_subscription",
    );
    return pushes.map(({ message }) => message.params).filter(({ result }) => result.key === key);
  }

  /** Breaks every connection without a goodbye. */
  cut() {
    for (const { client, server } of this.#pairs) {
      client.terminate();
      server.terminate();
    }
  }

  /** Closes every connection with `code`, as the server does. */
  close(code) {
    for (const { client, server } of this.#pairs) {
      client.close(code);
      server.terminate();
    }
  }

  /** What the server says is kept from clients until `flow`; a connection that is cut takes it along. */
  hold() {
    this.#isHolding = true;
  }

  flow() {
    this.#isHolding = false;
    for (const { client, held } of this.#pairs) held.splice(0).forEach((text) => client.send(text));
  }

  /** Changes what the server says: `edit` gets each message and answers another, or itself. */
  edit(edit) {
    this.#edit = edit;
  }

  /** Says `message` to every client in the server's place. */
  say(message) {
    for (const { client } of this.#pairs) client.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
  }

  /** Refuses new connections, and breaks those that stand. */
  async refuse() {
    const http = this.#http;
    this.#http = null;
    this.cut();
    if (http) await new Promise((closed) => http.close(closed));
  }

  /** Takes connections, again after `refuse`. */
  async accept() {
    if (this.#http) return;
    this.#http = createServer().listen(this.#port, "127.0.0.1");
    this.#http.on("upgrade", (request, socket, head) =>
      this.#sockets.handleUpgrade(request, socket, head, (client) => this.#join(client)),
    );
    await once(this.#http, "listening");
    this.#port = this.#http.address().port;
  }

  /** Until the client has sent so many requests of `method`. */
  untilAsked(method, count = 1) {
    return until(`${count} of ${method} are asked`, () => this.asked(method).length >= count);
  }

  #join(client) {
    this.taken += 1;
    const connection = this.taken;
    const server = new WebSocket(this.#target);
    const pair = { client, server, held: [] };
    this.#pairs.add(pair);
    const early = [];
    server.on("open", () => early.splice(0).forEach((text) => server.send(text)));
    client.on("message", (data) => {
      const text = String(data);
      this.#note("client", JSON.parse(text), connection);
      if (server.readyState === WebSocket.OPEN) server.send(text);
      else early.push(text);
    });
    server.on("message", (data) => this.#pass(pair, JSON.parse(String(data)), connection));
    const part = (code) => {
      this.#pairs.delete(pair);
      if (code >= 1000 && code !== 1005 && code !== 1006) client.close(code);
      else client.terminate();
      server.terminate();
    };
    server.on("close", part);
    client.on("close", () => part(1006));
    for (const end of [client, server]) end.on("error", () => {});
  }

  #pass(pair, original, connection) {
    const message = Array.isArray(original) ? original.map(this.#edit) : this.#edit(original);
    this.#note("server", message, connection);
    const text = JSON.stringify(message);
    if (this.#isHolding) pair.held.push(text);
    else pair.client.send(text);
  }

  #note(from, messages, connection) {
    const frame = (this.#frames += 1);
    for (const message of [messages].flat()) this.said.push({ from, message, connection, frame });
  }
}
