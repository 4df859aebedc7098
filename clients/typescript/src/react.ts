// Hooks for React. They need a `FreshetProvider` above them.

import { createContext, createElement, type ReactNode, useContext, useMemo, useSyncExternalStore } from "react";

import { type Freshness, UNKNOWN } from "./freshness.js";
import type { Client, ConnectionState, FreshetError, RecordState } from "./index.js";

const Context = createContext<Client | null>(null);

/** Hands `client` to the hooks below. It neither opens nor closes it. */
export function FreshetProvider({ client, children }: { client: Client; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the provider above. */
export function useFreshet(): Client {
  const client = useContext(Context);
  if (client === null) throw new Error("put a <FreshetProvider client={client}> around what uses Freshet's hooks");
  return client;
}

/** What a component knows of a record. */
export interface UsedRecord<T> {
  /** The newest state; `undefined` until the first has come. Its `value` is `null` where there is no such record. */
  readonly record: RecordState<T> | undefined;
  /** Why the record is not watched, if it was refused. */
  readonly error: FreshetError | undefined;
  /** Whether the server vouches for the record: no change is missing but those of the last seconds. */
  readonly isFresh: boolean;
  /** More of it: `freshness.ageMs` counts on while the record is not fresh. */
  readonly freshness: Freshness;
}

/**
 * Watches a record as long as the component is there, and renders it again with each newer state, and when it becomes fresh or
 * no longer is.
 */
export function useRecord<T = unknown>(collection: string, key: string): UsedRecord<T> {
  const client = useFreshet();
  const store = useMemo(() => recordStore<T>(client, collection, key), [client, collection, key]);
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot);
}

/** What the connection is up to. */
export function useConnection(): ConnectionState {
  const client = useFreshet();
  const store = useMemo(() => connectionStore(client), [client]);
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot);
}

interface Store<S> {
  subscribe(changed: () => void): () => void;
  snapshot(): S;
}

function recordStore<T>(client: Client, collection: string, key: string): Store<UsedRecord<T>> {
  let used: UsedRecord<T> = { record: undefined, error: undefined, isFresh: false, freshness: UNKNOWN };
  return {
    snapshot: () => used,
    subscribe: (changed) => {
      const become = (next: UsedRecord<T>): void => {
        used = next;
        changed();
      };
      const watch = client.watch<T>(collection, key, (record) => become({ ...used, record, error: undefined }), {
        onError: (error) => become({ ...used, error, isFresh: false, freshness: UNKNOWN }),
        onFreshness: (freshness) => become({ ...used, isFresh: freshness.isFresh, freshness }),
      });
      return () => watch.close();
    },
  };
}

function connectionStore(client: Client): Store<ConnectionState> {
  return { snapshot: () => client.state, subscribe: (changed) => client.onState(changed) };
}
