// web3-providers-ws. Made for nodes of a blockchain: it asks `eth_chainId` and `eth_accounts` of every server it comes
// to, and takes their refusal. Notifications are subscriptions to it when their method ends in `_subscription`. It
// answers whole responses, errors included.

import { WebSocketProvider } from "web3-providers-ws";

import { opened } from "./opened.mjs";
import { Subscriptions } from "./subscriptions.mjs";

export const web3 = {
  name: "web3-providers-ws",
  prefix: "freshet_",
  cannot: {
    notify: "it refuses to send what has no id",
    comeBackFromDrain: "it takes 1001 for an end that was wished for",
  },
  comesBack: "connects",

  async open(url) {
    const provider = new WebSocketProvider(url, {}, { autoReconnect: true, delay: 100, maxAttempts: 1_000 });
    provider.on("error", () => {}); // Each attempt on a server that is down is one.
    await opened(provider, "connect");
    const subscriptions = new Subscriptions();
    provider.on("message", ({ method, params }) => method === "freshet_subscription" && subscriptions.hear(params));
    let ids = 0;
    const request = (method, params) => ({ jsonrpc: "2.0", id: ++ids, method, params });
    const call = async (method, params) => {
      const { result, error } = await provider.request(request(method, params));
      if (error) throw error;
      return result;
    };
    return {
      call,
      batch: (calls) => provider.request(calls.map(([method, params]) => request(method, params))),
      async follow(params, listener) {
        const id = await call("freshet_subscribe", params);
        subscriptions.add(id, listener);
        return () => call("freshet_unsubscribe", [id]);
      },
      back: () => opened(provider, "connect"),
      close: () => provider.disconnect(),
    };
  },
};
