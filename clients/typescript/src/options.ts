/** What the client needs of a WebSocket: browsers, Deno, Bun and Node from 22 have one; for older ones, `ws` is one. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** Makes sockets. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** How a client connects and how long it waits. */
export interface Options {
  /** Makes sockets; the platform's `WebSocket` unless given. */
  WebSocket?: WebSocketConstructor;
  /** For opening a socket. 10,000. */
  connectTimeoutMs?: number;
  /** For a request from call to answer, reconnects included. 10,000. */
  requestTimeoutMs?: number;
  /** The ceiling of the first wait before a reconnect. 500. */
  backoffBaseMs?: number;
  /** The ceiling of any wait before a reconnect. 20,000. */
  backoffCapMs?: number;
  /** After so long a silence the server is asked for a sign of life. 15,000. */
  heartbeatMs?: number;
  /** How long that sign may take, before the connection counts as lost. 10,000. */
  heartbeatTimeoutMs?: number;
  /** For how long a subscription outlives the last watch of its key, so that a watch that comes back costs nothing. 5,000. */
  lingerMs?: number;
  /**
   * Reads a record's value from its exact JSON text. Unless given, `JSON.parse` reads the message as a whole: numbers
   * beyond 2^53, or with more than 17 digits, are rounded then. `(text) => text` hands the text on as it is.
   */
  parse?: (text: string) => unknown;
  /** Writes a value, a merge or an amount as JSON text: the counterpart of `parse`. `JSON.stringify` unless given. */
  stringify?: (value: unknown) => string;
}

/** The options as they are used, each one there. */
export type Settings = Required<Omit<Options, "parse" | "WebSocket">> & Pick<Options, "parse" | "WebSocket">;

const DEFAULTS = {
  connectTimeoutMs: 10_000,
  requestTimeoutMs: 10_000,
  backoffBaseMs: 500,
  backoffCapMs: 20_000,
  heartbeatMs: 15_000,
  heartbeatTimeoutMs: 10_000,
  lingerMs: 5_000,
  stringify: (value: unknown): string => JSON.stringify(value),
};

export function settings(options: Options): Settings {
  for (const [name, value] of Object.entries(options)) {
    const isTime = name.endsWith("Ms");
    if (isTime && value !== undefined && !(typeof value === "number" && value > 0 && value < 2 ** 31)) {
      throw new TypeError(`${name} is ${String(value)}: give milliseconds, above 0 and below 2^31`);
    }
  }
  const { WebSocket } = globalThis as { WebSocket?: WebSocketConstructor };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...DEFAULTS, ...(WebSocket && { WebSocket }), ...given };
}

/** Why no socket can be opened here, if so: a module that makes a client may be imported where pages are rendered. */
export function obstacle(urls: readonly string[], { WebSocket }: Settings): string | undefined {
  if (WebSocket === undefined) {
    return "there is no WebSocket here: give one as options.WebSocket, such as that of the package ws";
  }
  const path = urls.find(isPath);
  return path === undefined ? undefined : `there is no page here that ${path} could be of: give a URL such as wss://shop.example`;
}

/**
 * The sockets' addresses. http is read as ws. Without a scheme it is a host, reached as the page was or else by ws; what
 * begins with a slash is a path at the page's host. Without a path it is `/v1/ws`. A path stays as it is where there is no page.
 */
export function addresses(urls: string | readonly string[]): string[] {
  const list = typeof urls === "string" ? [urls] : urls;
  if (list.length === 0) throw new TypeError("give at least one URL");
  return list.map(address);
}

/** Where HTTP is spoken at a socket's address: `http://host:port`. */
export function httpAddress(url: string): string {
  return new URL(address(url)).origin.replace(/^ws/, "http");
}

function address(given: string): string {
  const { location } = globalThis as { location?: { href: string; protocol: string } };
  if (isPath(given) && location === undefined) return given;
  const hasScheme = given.includes("://");
  const scheme = location?.protocol === "https:" ? "wss" : "ws";
  let url: URL;
  try {
    url = new URL(hasScheme || isPath(given) ? given : `${scheme}://${given}`, location?.href);
  } catch {
    throw new TypeError(`${JSON.stringify(given)} is no URL: give one such as wss://shop.example or 127.0.0.1:8080`);
  }
  const isHttp = /^https?:$/.test(url.protocol);
  if (!isHttp && !/^wss?:$/.test(url.protocol)) {
    throw new TypeError(`${given} is no WebSocket's URL: it begins with wss://, ws://, https:// or http://`);
  }
  if (isHttp) url.protocol = url.protocol.replace("http", "ws");
  if (url.pathname === "/") url.pathname = "/v1/ws";
  url.hash = "";
  return url.href;
}

function isPath(given: string): boolean {
  return given.startsWith("/");
}
