// Runs the scenarios on one client under test.

import { after, before, test } from "node:test";

import { Server } from "../server.mjs";
import { Line } from "./line.mjs";
import { scenarios } from "./scenarios.mjs";

/** `start` starts the adapter. The scenarios share a server, one after the other, and have a line each. */
export function suite(start) {
  let server;
  let under;
  before(async () => {
    [server, under] = await Promise.all([Server.start(), start()]);
  });
  after(() => Promise.all([server?.remove(), under?.end()]));

  for (const { claim, rules, run } of scenarios) {
    test(`${claim} (${rules.join(", ")})`, { timeout: 60_000 }, async () => {
      const line = await Line.to(server.ws);
      const clients = [];
      const open = async (url, options) => {
        const client = await under.driver.open(url, options);
        clients.push(client);
        return client;
      };
      try {
        await run({ server, line, open });
      } finally {
        await Promise.all(clients.map((client) => client.close().catch(() => {})));
        await line.refuse();
      }
    });
  }
}
