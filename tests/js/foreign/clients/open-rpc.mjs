// @open-rpc/client-js. It hands every notification to one callback: telling subscriptions apart is left to its user.

import { Client, RequestManager, WebSocketTransport } from "@open-rpc/client-js";

import { Subscriptions } from "./subscriptions.mjs";

export const openRpc = {
  name: "@open-rpc/client-js",
  prefix: "",
  cannot: { comeBack: "its transport is one socket" },

  async open(url) {
    const client = new Client(new RequestManager([new WebSocketTransport(url)]));
    await client.requestManager.connectPromise;
    const subscriptions = new Subscriptions();
    client.onNotification(({ method, params }) => method === "freshet_subscription" && subscriptions.hear(params));
    const call = (method, params) => client.request({ method, params });
    return {
      call,
      notify: (method, params) => client.notify({ method, params }),
      async batch(calls) {
        client.startBatch();
        const answers = calls.map(([method, params]) =>
          call(method, params).then(
            (result) => ({ result }),
            (error) => ({ error }),
          ),
        );
        // `request` collects only after a turn of its own; `stopBatch` at once would find nothing to send.
        await new Promise(setImmediate);
        client.stopBatch();
        return Promise.all(answers);
      },
      async follow(params, listener) {
        const id = await call("subscribe", params);
        subscriptions.add(id, listener);
        return () => call("unsubscribe", [id]);
      },
      close: () => client.close(),
    };
  },
};
