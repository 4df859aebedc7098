import { useSyncExternalStore } from "react";

/** What a hook shows, and how it hears of changes. */
export interface Store<S> {
  subscribe(changed: () => void): () => void;
  /** The same object until something changes. */
  snapshot(): S;
  /** What a server renders, and a page as it takes that over. */
  rendered(): S;
}

export function useStore<S>({ subscribe, snapshot, rendered }: Store<S>): S {
  return useSyncExternalStore(subscribe, snapshot, rendered);
}
