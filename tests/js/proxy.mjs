// A TCP line between a client and a server, for a suite to cut, to silence and to refuse.

import { once } from "node:events";
import { connect, createServer } from "node:net";

/** Passes connections on to one address. */
export class Proxy {
  /** How many connections were accepted so far. */
  accepted = 0;
  /** How many times bytes came from clients so far. */
  received = 0;

  #target;
  #listener = null;
  #port = 0;
  #lines = new Set();
  #silent = { up: false, down: false };

  /** Listens on a port of its own and passes on to `address`, which is host:port. */
  static async to(address) {
    const proxy = new Proxy(address);
    await proxy.accept();
    return proxy;
  }

  constructor(address) {
    const [host, port] = address.split(":");
    this.#target = { host, port: Number(port) };
  }

  /** host:port, the same for the proxy's life. */
  get address() {
    return `127.0.0.1:${this.#port}`;
  }

  /** Where WebSockets are opened. */
  get ws() {
    return `ws://${this.address}/v1/ws`;
  }

  /** Connections that stand. */
  get open() {
    return this.#lines.size;
  }

  /** Resets every connection; new ones are taken. */
  cut() {
    for (const { client, server } of this.#lines) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Stops listening, so that new connections are refused; those that stand go on. */
  async refuse() {
    const listener = this.#listener;
    this.#listener = null;
    if (listener) await new Promise((resolve) => closeListener(listener, resolve));
  }

  /** Listens, again after `refuse`. */
  async accept() {
    if (this.#listener) return;
    this.#listener = createServer((client) => this.#join(client)).listen(this.#port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.#port = this.#listener.address().port;
  }

  /**
   * Bytes are no longer passed on, while connections stand: `up` those to the server, `down` those from it, both
   * unless said otherwise. They are lost, as on a line that went dead.
   */
  stall({ up = true, down = true } = {}) {
    this.#silent = { up, down };
  }

  /** Passes bytes on again. Connections that were stalled miss some: cut them first. */
  flow() {
    this.#silent = { up: false, down: false };
  }

  /** Ends everything. */
  async close() {
    const closed = this.refuse();
    this.cut();
    await closed;
  }

  #join(client) {
    this.accepted += 1;
    const server = connect(this.#target);
    const line = { client, server };
    this.#lines.add(line);
    const part = () => {
      this.#lines.delete(line);
      client.destroy();
      server.destroy();
    };
    client.on("data", (bytes) => {
      this.received += 1;
      if (!this.#silent.up) server.write(bytes);
    });
    server.on("data", (bytes) => this.#silent.down || client.write(bytes));
    for (const end of [client, server]) end.setNoDelay(true).on("error", part).on("close", part);
  }
}

// `close` waits for connections that stand; that they are no longer listened for is all that is asked here.
function closeListener(listener, done) {
  listener.close();
  setImmediate(done);
}
