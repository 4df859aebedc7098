// The example `cluster` under a suite: three nodes behind a balancer, with Redis, over eight databases.
//
// Promises: a cluster that is handed out is ready. Whatever way the process that started it ends, the cluster ends, too.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { binary } from "./server.mjs";
import { until } from "./until.mjs";

const example = join(dirname(binary), "examples", "cluster");

// The example takes so many ports from a first one on. They lie below those that systems give to outgoing connections.
const PORTS = 40;
const FIRST = 22_000;
const LAST = 31_000;

// Waits on a pipe that closes when the suite's process has ended. The example sees the end of its input then and stops all it
// started; the folder is removed after it.
const GUARD = `
read -r _ && exit
while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
rm -rf -- "$2"`;

/** A running cluster. */
export class Cluster {
  /** What it has printed. */
  output = "";

  #folder;
  #child;
  #guard;
  #port;

  static async start() {
    await stat(example).catch(() => {
      throw new Error(`there is no ${example}: run \`cargo build --examples\``);
    });
    const folder = await mkdtemp(join(tmpdir(), "freshet-js-"));
    await chmod(folder, 0o755);
    const cluster = new Cluster(folder, await freePorts());
    await until("the cluster runs", () => cluster.output.includes("Commands here:"), { ended: cluster.#ended, within: 120_000 });
    return cluster;
  }

  constructor(folder, port) {
    this.#folder = folder;
    this.#port = port;
    this.#child = spawn(example, ["--port", String(port), folder], { stdio: ["pipe", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
    this.#guard = spawn("/bin/sh", ["-c", GUARD, "guard", String(this.#child.pid), folder], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    this.#guard.unref();
    this.#guard.stdin.unref();
  }

  /** `http://host:port` of the balancer. */
  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Carries a command out, such as `kill n1`, and answers what is said to it. */
  async tell(command) {
    const from = this.output.length;
    this.#child.stdin.write(`${command}\n`);
    const said = () => this.output.slice(from).split("\n").find((line) => line === `done: ${command}` || line.startsWith(`${command}: `));
    const line = await until(`the cluster has done "${command}"`, said, { ended: this.#ended, within: 120_000 });
    if (!line.startsWith("done")) throw new Error(line);
  }

  /** Calls a method over `POST /v1/rpc`, until a node answers: what is called must be harmless when it is repeated. */
  async call(method, params) {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const ask = () => fetch(`${this.url}/v1/rpc`, { method: "POST", headers: { "content-type": "application/json" }, body });
    const answer = () => ask().then((response) => response.json()).then(({ result }) => result, () => null);
    return until(`${method} is answered`, answer);
  }

  /** Stops everything and removes the folder. For `after` of a suite. */
  async remove() {
    if (this.#child.exitCode === null) {
      const exited = once(this.#child, "exit");
      this.#child.stdin.end();
      await exited;
    }
    this.#guard.stdin.end("done\n");
    await rm(this.#folder, { recursive: true, force: true });
  }

  #ended = () => (this.#child.exitCode === null ? null : new Error(`the cluster ended:\n${this.output}`));
}

async function freePorts() {
  for (;;) {
    const first = FIRST + PORTS * Math.floor((Math.random() * (LAST - FIRST)) / PORTS);
    const free = await Promise.all(Array.from({ length: PORTS }, (_, at) => isFree(first + at)));
    if (free.every(Boolean)) return first;
  }
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
