// The page's modules that show nothing by themselves: words, figures, rates, lines. Run where they are at home.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { launch } from "../browser.mjs";
import { Server } from "../server.mjs";

let browser;
let server;
let page;

before(async () => {
  [browser, server] = await Promise.all([launch(), Server.start({ command: "demo", memory: true, args: ["--no-replay", "--readers", "0"] })]);
  page = await browser.newPage();
  await page.goto(`${server.url}/style.css`); // Of the page's origin, and nothing runs there.
});
after(() => Promise.all([browser?.close(), server?.remove()]));

/** Calls `run` in the browser with the module at `path`. */
function within(path, run, argument) {
  const source = `(argument) => import("${path}").then((module) => (${run})(module, argument))`;
  return page.evaluate(`(${source})(${JSON.stringify(argument)})`);
}

test("capitals become a title, and a name with small letters stays", async () => {
  const names = ["WHITE HANGING HEART T-LIGHT HOLDER", "SET/5 RED SPOTTY LID GLASS BOWLS", "PACK OF 72 RETRO SPOT CAKE CASES", "A new thing", "POPPY'S PLAYHOUSE"];
  assert.deepEqual(await within("/format.js", ({ title }, names) => names.map(title), names), [
    "White Hanging Heart T-Light Holder",
    "Set/5 Red Spotty Lid Glass Bowls",
    "Pack of 72 Retro Spot Cake Cases",
    "A new thing",
    "Poppy's Playhouse",
  ]);
});

test("prices are read as people write them, and to the penny", async () => {
  const texts = ["2.95", "£2.9", "1,295.00", "0.07", "3", "2.955", "-1", "cheap", ""];
  const read = await within("/format.js", ({ parseMoney }, texts) => texts.map((text) => parseMoney(text, "GBP")), texts);
  assert.deepEqual(read, [295, 290, 129500, 7, 300, null, null, null, null]);
});

test("figures are short, and what is not known is a dash", async () => {
  const shown = await within("/format.js", ({ ago, bytes, milliseconds, percent, rate }) => [
    [rate(0), rate(0.25), rate(9.96), rate(1234), rate(null)],
    [milliseconds(0.84), milliseconds(12.4), milliseconds(999.7), milliseconds(1400), milliseconds(undefined)],
    [percent(0.8824), percent(null), bytes(558560), bytes(1048576)],
    [ago(900), ago(12_900), ago(60_000), ago(7_300_000)],
  ]);
  assert.deepEqual(shown, [
    ["0/s", "0.3/s", "10/s", "1,234/s", "–"],
    ["0.8 ms", "12 ms", "1.0 s", "1.4 s", "–"],
    ["88.2%", "–", "0.6 MB", "1.0 MB"],
    ["now", "12 s", "1 min", "2 h"],
  ]);
});

test("large figures are written short where there is little room", async () => {
  const shown = await within("/format.js", ({ countShort, moneyShort }) => [
    [moneyShort(295, "GBP"), moneyShort(99_999_999, "GBP"), moneyShort(123_456_789, "GBP"), moneyShort(99_999_999_999, "GBP"), moneyShort(undefined, "GBP")],
    [moneyShort(2_000_000, "JPY"), moneyShort(123_456_789, "no code")],
    [countShort(999_999), countShort(2_147_483_647), countShort(undefined)],
  ]);
  assert.deepEqual(shown, [
    ["£2.95", "£999,999.99", "£1.2m", "£1bn", "–"],
    ["JP¥2m", "1.2m no code"],
    ["999,999", "2.1bn", "–"],
  ]);
});

test("a place tells its servers where there are several, and sockets by their folders", async () => {
  const server = (name, role, lagMs) => ({ server: name, role, lag_ms: lagMs });
  const [a, b2] = [server("/tmp/cluster/a", "primary"), server("h:5432", "replica", 40)];
  const place = { shard: 17, database: "shop-2", databases: 8 };
  const shown = await within("/place.js", ({ placeText }, places) => places.map(placeText), [
    { ...place, servers: [a, b2, server("/tmp/cluster/c", "banned", 9000)] },
    { ...place, servers: [a] },
    { ...place, databases: 1, servers: [b2, a] },
    { ...place, databases: 1, servers: [a] },
    { ...place, databases: 1 },
  ]);
  assert.deepEqual(shown, [
    "shard 17 on shop-2 at a, replica h:5432 40 ms behind, replica c away",
    "shard 17 on shop-2",
    "shard 17 at a, replica h:5432 40 ms behind",
    "",
    "",
  ]);
});

test("a search ranks the code, then beginnings of words, then anything within", async () => {
  const index = [["22423", "Cakestand"], ["21212", "Retro Spot Cake Cases"], ["84991", "Teacake Set"], ["CAKE", "Nothing"]];
  const found = await within("/search.js", ({ makeIndex, search, words }, index) => {
    return search(makeIndex(index), words("cake"), 9).products.map(({ sku }) => sku);
  }, index);
  assert.deepEqual(found, ["CAKE", "22423", "21212", "84991"]);
});

test("a rate is what rose lately over the time it took, and a restarted or another node starts anew", async () => {
  const rates = await within("/stats.js", ({ Rates }) => {
    const rates = new Rates();
    const read = ({ pushes }) => pushes;
    const seen = [rates.perSecond(read)];
    const add = (at, uptime_s, pushes) => (rates.add({ uptime_s, pushes }, at), seen.push(rates.perSecond(read)));
    add(0, 10, 100);
    add(1000, 11, 110);
    add(2000, 12, 130);
    add(3010, 13, 130);
    add(4000, 14, 130);
    add(5000, 1, 5);
    add(6000, 2, 6);
    add(60000, 3, 700);
    add(61000, 4, 702);
    rates.restart();
    add(62000, 50, 9000);
    add(63000, 51, 9003);
    return seen;
  });
  assert.deepEqual(rates.map((rate) => rate && Math.round(rate)), [null, null, 10, 15, 10, 7, null, 1, null, 2, null, 3]);
});

test("of several databases the one that is not fresh is named, and more are counted", async () => {
  const databases = [[], [false], [true, true], [true, false], [false, true, false]];
  const named = databases.map((all) => all.map((fresh, at) => ({ name: `shop-${at}`, fresh })));
  const texts = await within("/stats.js", ({ notFresh }, named) => [...named, undefined].map((databases) => notFresh(databases)), named);
  const [all, one, more] = ["Not proven fresh", "shop-1 not proven fresh", "2 of 3 databases not proven fresh"];
  assert.deepEqual(texts, [all, all, all, one, more, all]);
});

test("a line spans a minute from its first point on, and holds its last value until now", async () => {
  const views = await within("/history.js", ({ History }) => {
    const history = new History();
    const seen = [history.view("price", 0)];
    history.note({ price: 5, stock: 1 }, 0);
    history.note(null, 1_000);
    history.note({ price: 7, stock: 1 }, 10_000);
    for (const now of [12_500, 20_000, 400_000]) {
      const { points, seconds, from, to, low, high } = history.view("price", now);
      seen.push({ points: points.map(({ at, value }) => [at, value]), seconds, span: [from, to], low, high });
    }
    return seen;
  });
  assert.deepEqual(views, [
    null,
    { points: [[0, 5], [10_000, 7], [12_500, 7]], seconds: 12, span: [-47_500, 12_500], low: 5, high: 7 },
    { points: [[0, 5], [10_000, 7], [20_000, 7]], seconds: 20, span: [-40_000, 20_000], low: 5, high: 7 },
    { points: [[10_000, 7], [400_000, 7]], seconds: 60, span: [340_000, 400_000], low: 7, high: 7 },
  ]);
});

test("a new line begins at the right, and dots lead up to it", async () => {
  const drawn = await within("/chart.js", ({ Trace }) => {
    const box = document.createElement("div");
    const trace = new Trace(box, { steps: true });
    const span = { from: 0, to: 60_000, low: 5, high: 7 };
    return [[], [{ at: 60_000, value: 7 }], [{ at: 45_000, value: 5 }, { at: 60_000, value: 7 }], [{ at: -1, value: 5 }, { at: 60_000, value: 5 }]].map((points) => {
      trace.draw([points], span);
      return ["before", "line", "end"].map((part) => box.querySelector(`.${part}`).getAttribute("d"));
    });
  });
  assert.deepEqual(drawn, [
    ["", "", ""],
    ["M0 8H100", "M100 8", "M100 8h0"],
    ["M0 92H75", "M75 92H100V8", "M100 8h0"],
    ["", "M0 92H100V92", "M100 92h0"],
  ]);
});

test("the line to copy reaches the database that has the product, or else the node", async () => {
  const login = { host: "/srv/demo", port: 5432, user: "postgres", database: "freshet" };
  const at = { host: "127.0.0.1:8080", protocol: "http:" };
  const asked = [
    ["85123A", { login }, at],
    ["85123A", { login: { ...login, host: "/srv/it's mine", port: 5433, user: "$(id)" } }, at],
    ["85123A", {}, at],
    ["85123A", {}, { host: "shop.example", protocol: "https:" }],
    ["'; DROP TABLE products; --", { login }, at],
    ["$(id)", {}, at],
  ];
  const lines = await within("/command.js", ({ commandLine }, asked) => asked.map((each) => commandLine(...each)), asked);
  const sql = `"UPDATE products SET price = price + 100 WHERE sku = '85123A'"`;
  assert.deepEqual(lines, [
    `psql -h /srv/demo -U postgres freshet -c ${sql}`,
    `psql -h '/srv/it'\\''s mine' -p 5433 -U '$(id)' freshet -c ${sql}`,
    "freshet patch products 85123A --increment stock=-1",
    "freshet patch products 85123A --increment stock=-1 --url wss://shop.example",
    null,
    null,
  ]);
});

test("a stream of counters that was lost or refused is opened at once when the connection is back", async () => {
  const seen = await within("/stats.js", ({ Stats }) => {
    const opened = [];
    globalThis.EventSource = class {
      static CLOSED = 2;
      readyState = 0;
      constructor() {
        opened.push(this);
      }
      hear() {
        this.readyState = 1;
        this.onmessage({ data: "{}" });
      }
      fail(readyState) {
        this.readyState = readyState;
        this.onerror();
      }
      close() {
        this.readyState = 2;
      }
    };
    const stats = new Stats("/v1/stats/events");
    const seen = [];
    const note = () => seen.push([opened.length, opened.filter(({ readyState }) => readyState < 2).length]);
    const hasten = () => (stats.hasten(), note());
    hasten(); // Nothing was opened yet.
    stats.open();
    hasten(); // It is on its way.
    opened.at(-1).hear();
    hasten(); // It is there.
    opened.at(-1).fail(2); // Refused: a browser would never come back.
    hasten();
    opened.at(-1).fail(0); // Cut off: a browser waits.
    hasten();
    opened.at(-1).hear();
    hasten();
    stats.close();
    hasten();
    return seen;
  });
  assert.deepEqual(seen, [[0, 0], [1, 1], [1, 1], [2, 1], [3, 1], [3, 1], [3, 0]]);
});
