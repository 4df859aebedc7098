import { createContext, createElement, type ReactNode, useContext } from "react";

import type { Client } from "../client.js";

const Context = createContext<Client<any> | null>(null);

/** Hands `client` to the hooks below. It neither opens nor closes it. */
export function FreshetProvider({ client, children }: { client: Client<any>; children?: ReactNode }): ReactNode {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the provider above. */
export function useFreshet(): Client<any> {
  const client = useContext(Context);
  if (client === null) throw new Error("put a <FreshetProvider client={client}> around what uses Freshet's hooks");
  return client;
}
