import { useMemo } from "react";

import type { Client } from "../client.js";
import type { ConnectionState } from "../link.js";
import { useFreshet } from "./provider.js";
import { type Store, useStore } from "./store.js";

const CONNECTING: ConnectionState = { status: "connecting" };

/** What the connection is up to; `connecting` where a server renders. */
export function useConnection(): ConnectionState {
  const client = useFreshet();
  return useStore(useMemo(() => connectionStore(client), [client]));
}

function connectionStore(client: Client<any>): Store<ConnectionState> {
  return {
    subscribe: (changed) => client.onState(changed),
    snapshot: () => client.state,
    rendered: () => CONNECTING,
  };
}
