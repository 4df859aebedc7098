// The README's table of one's own in a browser: its migration, and its page on a server of its own.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";
import { until } from "../until.mjs";

const README = fileURLToPath(new URL("../../../README.md", import.meta.url));

let browser;
let pages;
let readme;
let server;

before(async () => {
  [browser, readme, server] = await Promise.all([launch(), readFile(README, "utf8"), Server.start()]);
  await server.sql(`${fenced("sql")} SELECT freshet.create_shards('prices', 64, ARRAY(SELECT generate_series(0, 63)))`);
  // A node reads what collections there are when it starts.
  await server.stop();
  await server.restart();
  const html = fenced("html").replaceAll("http://127.0.0.1:8080", server.url);
  pages = createServer((_, response) => response.setHeader("content-type", "text/html").end(html)).listen(0, "127.0.0.1");
  await once(pages, "listening");
});
after(() => Promise.all([browser?.close(), pages?.close(), server?.remove()]));

function fenced(language) {
  const [, text] = new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "m").exec(readme);
  return text;
}

test("the README's page shows a row as it comes, changes and goes", async () => {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  const shows = (text) => until(`the page shows ${text}`, async () => (await page.textContent("#amount")) === text);
  await shows("not for sale");
  await server.sql("INSERT INTO prices VALUES (1, 12.50)");
  await shows("12.5");
  await server.sql("UPDATE prices SET amount = 13");
  await shows("13");
  await server.sql("DELETE FROM prices");
  await shows("not for sale");
});
