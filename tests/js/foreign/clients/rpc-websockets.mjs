// rpc-websockets. Its own `subscribe` speaks a dialect of its own (`rpc.on`), so subscriptions are calls here, and
// pushes come as the event that its emitter makes of every notification.

import { Client } from "rpc-websockets";

import { opened } from "./opened.mjs";
import { Subscriptions } from "./subscriptions.mjs";

export const rpcWebsockets = {
  name: "rpc-websockets",
  prefix: "",
  cannot: { batch: "it sends one request a message" },
  comesBack: "connects",

  async open(url) {
    const client = new Client(url, { reconnect_interval: 100, max_reconnects: 0 });
    client.on("error", () => {}); // Each attempt on a server that is down is one.
    await opened(client, "open");
    const subscriptions = new Subscriptions();
    client.on("freshet_subscription", subscriptions.hear);
    return {
      call: (method, params) => client.call(method, params),
      notify: (method, params) => client.notify(method, params),
      async follow(params, listener) {
        const id = await client.call("subscribe", params);
        subscriptions.add(id, listener);
        return () => client.call("unsubscribe", { id });
      },
      back: () => opened(client, "open"),
      close() {
        client.setAutoReconnect(false);
        client.close();
      },
    };
  },
};
