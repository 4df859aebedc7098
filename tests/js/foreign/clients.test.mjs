// Clients that were written for other servers, unchanged and at the versions of the lockfile.

import { after, before, test } from "node:test";

import { Server } from "../server.mjs";
import { jsonRpc20 } from "./clients/json-rpc-2.0.mjs";
import { openRpc } from "./clients/open-rpc.mjs";
import { polkadot } from "./clients/polkadot.mjs";
import { rpcWebsockets } from "./clients/rpc-websockets.mjs";
import { web3 } from "./clients/web3.mjs";
import { comeBack, run } from "./script.mjs";

const clients = [rpcWebsockets, jsonRpc20, openRpc, web3, polkadot];
let server;

before(async () => {
  server = await Server.start();
});
after(() => server.remove());

for (const client of clients) {
  test(client.name, (t) => run(t, client, server));
}

for (const [outage, end] of [
  ["killed", () => server.kill()],
  ["drained", () => server.stop()],
]) {
  test(`clients that reconnect see what was committed after the server was ${outage}`, async (t) => {
    const reason = ({ cannot }) => cannot.comeBack ?? (outage === "drained" ? cannot.comeBackFromDrain : undefined);
    for (const client of clients) if (reason(client)) t.diagnostic(`not ${client.name}: ${reason(client)}`);
    await comeBack(
      clients.filter((client) => !reason(client)),
      server,
      async () => {
        await end();
        await server.restart();
      },
    );
  });
}
