export {
  type Change,
  Client,
  idempotencyKey,
  type ReadOptions,
  type RequestOptions,
  type WriteOptions,
} from "./client.js";
export { Backoff, type Random } from "./backoff.js";
export { FreshetError, type Reason } from "./errors.js";
export type { Freshness, Proven } from "./freshness.js";
export type { ConnectionState } from "./link.js";
export type { Options, WebSocketConstructor, WebSocketLike } from "./options.js";
export { compareStamps, type RecordState, type Written } from "./record.js";
export { type Watch, type WatchOptions } from "./watch.js";
