// json-rpc-2.0. It is JSON-RPC alone: the socket is its user's, and so is what happens when that closes. It knows
// notifications, by the half of it that serves, but no subscriptions: telling them apart is left to its user.

import { JSONRPCClient, JSONRPCServer, JSONRPCServerAndClient, createJSONRPCRequest } from "json-rpc-2.0";
import WebSocket from "ws";

import { opened } from "./opened.mjs";
import { Subscriptions } from "./subscriptions.mjs";

export const jsonRpc20 = {
  name: "json-rpc-2.0",
  prefix: "",
  cannot: { comeBack: "the socket is its user's" },

  async open(url) {
    const socket = new WebSocket(url, "freshet.v1");
    const send = async (message) => socket.send(JSON.stringify(message));
    const peer = new JSONRPCServerAndClient(new JSONRPCServer(), new JSONRPCClient(send));
    socket.on("message", (text) => peer.receiveAndSend(JSON.parse(text)));
    socket.on("close", () => peer.rejectAllPendingRequests("the socket is closed"));
    await opened(socket, "open");
    const subscriptions = new Subscriptions();
    peer.addMethod("freshet_subscription", subscriptions.hear);
    let ids = 1_000_000; // Above those it counts by itself.
    return {
      call: (method, params) => peer.request(method, params),
      notify: (method, params) => peer.notify(method, params),
      batch: (calls) =>
        peer.requestAdvanced(calls.map(([method, params]) => createJSONRPCRequest(ids++, method, params))),
      async follow(params, listener) {
        const id = await peer.request("subscribe", params);
        subscriptions.add(id, listener);
        return () => peer.request("unsubscribe", [id]);
      },
      close: () => socket.close(),
    };
  },
};
