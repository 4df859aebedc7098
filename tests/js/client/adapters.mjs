// The clients under test: how each is started and spoken to.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { launch } from "../browser.mjs";
import { Driver } from "./driver.mjs";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const here = (file) => fileURLToPath(new URL(file, import.meta.url));

/** The TypeScript client in Node. */
export function node() {
  return lines(process.execPath, [here("node_adapter.mjs")]);
}

/** The Rust client: an example of the crate's. */
export async function rust() {
  const build = ["build", "--locked", "--package", "freshet-client", "--example", "client_under_test", "--message-format=json-render-diagnostics"];
  const { stdout } = await promisify(execFile)("cargo", build, { cwd: repository, maxBuffer: 2 ** 26 });
  const built = stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const { executable } = built.find(({ target, executable }) => executable && target.name === "client_under_test");
  return lines(executable, []);
}

/** The TypeScript client in headless Chromium, on a page of an origin of its own. */
export async function chromium() {
  const files = { "/": "", "/adapter.mjs": await readFile(here("adapter.mjs")) };
  files["/freshet.js"] = await readFile(`${repository}/web/freshet.js`);
  const http = createServer(({ url }, response) => {
    response.setHeader("content-type", url === "/" ? "text/html" : "text/javascript");
    response.statusCode = url in files ? 200 : 404;
    response.end(files[url]);
  }).listen(0, "127.0.0.1");
  await once(http, "listening");
  const browser = await launch();
  const page = await browser.newPage();
  const driver = new Driver((command) => page.evaluate((given) => void globalThis.take(given), command));
  await page.exposeFunction("say", (message) => driver.heard(message));
  await page.goto(`http://127.0.0.1:${http.address().port}/`);
  await page.evaluate(async () => {
    const [{ Client }, { adapter }] = await Promise.all([import("/freshet.js"), import("/adapter.mjs")]);
    globalThis.take = adapter((url, options) => new Client(url, options), globalThis.say);
  });
  const end = async () => {
    await browser.close();
    http.close();
  };
  return { driver, page, end };
}

function lines(program, args) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const driver = new Driver((command) => child.stdin.write(`${JSON.stringify(command)}\n`));
  child.once("exit", () => driver.ended());
  createInterface({ input: child.stdout }).on("line", (line) => driver.heard(JSON.parse(line)));
  const end = async () => {
    const exited = child.exitCode === null && once(child, "exit");
    child.stdin.end();
    await exited;
  };
  return { driver, end };
}
