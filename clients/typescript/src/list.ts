import type { Calls } from "./calls.js";
import type { Params, RequestOptions } from "./parameters.js";
import { type RecordState, stateOf, type WireRecord } from "./record.js";
import type { Watches } from "./watches.js";

// What a page has unless a request says otherwise.
const PAGE_SIZE = 100;

/** What of a collection is listed; `timeoutMs` is for each page. */
export interface ListOptions extends RequestOptions {
  /** Only keys that begin with this; for collections whose keys are text. */
  prefix?: string;
  /** So many records at the most; all of them unless given. */
  limit?: number;
  /** How many are asked for at once; 100 unless given, 1,000 at the most unless the server is configured otherwise. */
  pageSize?: number;
}

/** A record of a list: there is one. */
export type Listed<T = unknown> = RecordState<T> & { readonly value: T };

interface Page {
  records: WireRecord[];
  cursor?: string;
}

/** Goes through a collection in the order of its keys. A page is asked for when the one before was taken. */
export async function* list(
  calls: Calls,
  watches: Watches,
  collection: string,
  { prefix, limit = Infinity, pageSize, ...options }: ListOptions,
): AsyncGenerator<Listed, void, undefined> {
  if (limit !== Infinity && !(Number.isInteger(limit) && limit >= 0)) {
    throw new TypeError(`limit is ${String(limit)}: give a whole number, or leave it out to list all`);
  }
  let left = limit;
  let cursor: string | undefined;
  while (left > 0) {
    const size = Math.min(left, pageSize ?? PAGE_SIZE);
    const params: Params = {
      collection: JSON.stringify(collection),
      prefix: prefix && JSON.stringify(prefix),
      limit: pageSize === undefined && size === PAGE_SIZE ? undefined : size.toString(),
      cursor: cursor && JSON.stringify(cursor),
    };
    const page = (await calls.askPatiently({ kind: "read", method: "list", params, options })) as Page;
    for (const record of page.records) {
      options.signal?.throwIfAborted();
      const state = watches.answered(collection, record.key, stateOf(record));
      if (!isThere(state)) continue;
      yield state;
      left -= 1;
    }
    cursor = page.cursor;
    if (cursor === undefined) return;
  }
}

// A list may be older than what is known: of a record that was removed since, say.
function isThere(state: RecordState): state is Listed {
  return state.value !== null;
}
