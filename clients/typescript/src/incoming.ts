import { type WireError } from "./errors.js";
import { elements, slice } from "./json.js";
import type { WireRecord } from "./record.js";

/** One message from the server, sorted. */
export type Incoming =
  | { kind: "answer"; id: number; result: unknown; error: WireError | undefined }
  /** A state for the subscription of that id. */
  | { kind: "state"; subscription: string; record: WireRecord }
  /** The subscriptions of those ids are fresh, or no longer: changes of the last `ageMs` may be missing. */
  | { kind: "freshness"; isFresh: boolean; ageMs: number; subscriptions: readonly string[] }
  /** The node asks to be left, that long from now. */
  | { kind: "drain"; reconnectInMs: number }
  /** A message as a whole was refused, before its requests were looked at. */
  | { kind: "refused"; reason: unknown }
  /** Nothing that this version knows. */
  | { kind: "other" };

interface Wire {
  id?: unknown;
  method?: string;
  params?: {
    subscription?: string;
    result?: WireRecord;
    reconnect_in_ms?: number;
    fresh?: boolean;
    age_ms?: number;
    subscriptions?: readonly string[];
  };
  result?: unknown;
  error?: WireError & { data?: { reason?: unknown } };
}

type Parse = ((text: string) => unknown) | undefined;

/**
 * Reads a message, or a batch of them. With `parse`, the values of records are read by it, from their own text. Throws where it
 * is no JSON.
 */
export function read(text: string, parse?: Parse): Incoming[] {
  return (text.startsWith("[") ? elements(text) : [text]).map((each) => readOne(each, parse));
}

function readOne(text: string, parse: Parse): Incoming {
  const { id, method, params, result, error } = JSON.parse(text) as Wire;
  if (method === "freshet_subscription" && params?.subscription !== undefined && params.result) {
    const record = reread(params.result, text, ["params", "result"], parse);
    return { kind: "state", subscription: params.subscription, record };
  }
  if (method === "freshet_freshness" && Array.isArray(params?.subscriptions)) {
    const { fresh, age_ms = 0, subscriptions } = params;
    return { kind: "freshness", isFresh: fresh === true, ageMs: age_ms, subscriptions };
  }
  if (method === "freshet_drain" && typeof params?.reconnect_in_ms === "number") {
    return { kind: "drain", reconnectInMs: params.reconnect_in_ms };
  }
  if (method === undefined && typeof id === "number") {
    return { kind: "answer", id, result: rereadResult(result, text, parse), error };
  }
  if (method === undefined && id === null && error) return { kind: "refused", reason: error.data?.reason };
  return { kind: "other" };
}

function rereadResult(result: unknown, text: string, parse: Parse): unknown {
  if (parse === undefined || typeof result !== "object" || result === null) return result;
  const { records } = result as { records?: WireRecord[] };
  if (records === undefined) return reread(result as WireRecord, text, ["result"], parse);
  const texts = elements(slice(text, ["result", "records"]) ?? "[]");
  return { ...result, records: records.map((record, at) => reread(record, texts[at] ?? "", [], parse)) };
}

// An absence stays `null`, whatever `parse` makes of that text.
function reread(record: WireRecord, text: string, path: readonly string[], parse: Parse): WireRecord {
  if (parse === undefined || record.value === null || record.value === undefined) return record;
  const value = slice(text, [...path, "value"]);
  return value === undefined ? record : { ...record, value: parse(value) };
}
