// @polkadot/rpc-provider. Made for nodes of a blockchain: parameters go by position, and a subscription is known by the
// method of its notifications. After a lost connection it subscribes again by itself, with the parameters it was given.

import { WsProvider } from "@polkadot/rpc-provider";

import { opened } from "./opened.mjs";

const PUSHES = "freshet_subscription";

export const polkadot = {
  name: "@polkadot/rpc-provider",
  prefix: "freshet_",
  cannot: {
    batch: "it sends one request a message",
    notify: "it numbers whatever it sends",
    byName: "its parameters are an array",
  },
  comesBack: "subscribes",

  async open(url) {
    const provider = new WsProvider(url, 250);
    provider.on("error", () => {}); // Each attempt on a server that is down is one.
    await provider.isReady;
    return {
      call: (method, params) => provider.send(method, params),
      async follow(params, listener) {
        const id = await provider.subscribe(PUSHES, "freshet_subscribe", params, (error, record) => {
          if (error) throw error;
          listener(record);
        });
        return () => provider.unsubscribe(PUSHES, "freshet_unsubscribe", id);
      },
      back: () => opened({ once: (event, heard) => provider.on(event, heard) }, "connected"),
      close: () => provider.disconnect(),
    };
  },
};
