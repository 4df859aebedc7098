import { useMemo } from "react";

import type { Client } from "../client.js";
import type { RecordState } from "../record.js";
import { useFreshet } from "./provider.js";
import { NOTHING, RecordStore, type UsedRecord } from "./recordstore.js";
import { type Store, useStore } from "./store.js";

/** What a component may know of a record before it asks. */
export interface Initial<T> {
  /** A state that is known already, as from a server's rendering; `client.get` answers such. No older one is shown after it. */
  initial?: RecordState<T> | undefined;
}

/** The same of several records. */
export interface InitialRecords<T> {
  initial?: readonly RecordState<T>[] | undefined;
}

const nothing: Store<UsedRecord<any>> = {
  subscribe: () => () => {},
  snapshot: () => NOTHING,
  rendered: () => NOTHING,
};

/**
 * Watches a record as long as the component is there, and renders it again with each newer state, and when it becomes fresh or
 * no longer is. With `null` in place of a key it watches nothing.
 */
export function useRecord<T = unknown>(collection: string, key: string | null, { initial }: Initial<T> = {}): UsedRecord<T> {
  const client = useFreshet();
  const store = useMemo(
    () => (key === null ? nothing : new RecordStore<T>(client, collection, key, initial)),
    [client, collection, key],
  );
  return useStore(store);
}

/** Watches records of one collection as `useRecord` does; answers them in the order of `keys`. */
export function useRecords<T = unknown>(
  collection: string,
  keys: readonly string[] | null,
  { initial = [] }: InitialRecords<T> = {},
): readonly UsedRecord<T>[] {
  const client = useFreshet();
  // A list of the same keys is the same list.
  const text = JSON.stringify(keys ?? []);
  const store = useMemo(() => recordsStore<T>(client, collection, JSON.parse(text) as string[], initial), [client, collection, text]);
  return useStore(store);
}

function recordsStore<T>(
  client: Client<any>,
  collection: string,
  keys: readonly string[],
  initial: readonly RecordState<T>[],
): Store<readonly UsedRecord<T>[]> {
  const known = new Map(initial.map((state) => [state.key, state]));
  const stores = new Map(keys.map((key) => [key, new RecordStore<T>(client, collection, key, known.get(key))]));
  const all = (of: (store: RecordStore<T>) => UsedRecord<T>) => keys.map((key) => of(stores.get(key) as RecordStore<T>));
  const rendered = all((store) => store.rendered());
  let used = rendered;
  return {
    subscribe: (changed) => {
      const ends = [...stores.values()].map((store) => store.subscribe(changed));
      return () => ends.forEach((end) => end());
    },
    snapshot: () => {
      const next = all((store) => store.snapshot());
      if (next.some((record, at) => record !== used[at])) used = next;
      return used;
    },
    rendered: () => rendered,
  };
}
