// The real `freshet` under a suite: started on ports and a data directory of its own, stopped, killed, started again.
//
// Promises: a server that is handed out is ready. Whatever way the process that started it ends, SIGKILL included,
// the server, its private PostgreSQL and its folder go too.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { until } from "./until.mjs";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** The program under test: FRESHET_BIN, else cargo's debug build. */
export const binary =
  process.env.FRESHET_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(repository, "target"), "debug", "freshet");

// Waits on a pipe that closes when the suite's process has ended, and cleans up after it. A line says that it need not.
const GUARD = `
read -r _ && exit
kill -KILL "$1"
while [ -e "$2/data/postmaster.pid" ]; do sleep 0.1; done
rm -rf -- "$2"`;

/** A running node. */
export class Server {
  /** What it has printed, all runs together. */
  output = "";

  #command;
  #options;
  #folder;
  #child = null;
  #guard = null;
  #public = "127.0.0.1:0";
  #operations = "127.0.0.1:0";

  /**
   * Starts `freshet serve`, or another `command`, and waits until it is ready.
   *
   * Options: `memory` keeps the records in the process instead of a private PostgreSQL; `config` is the text of a
   * freshet.toml; `args` are further arguments; `env` is laid over the environment.
   */
  static async start({ command = "serve", ...options } = {}) {
    await stat(binary).catch(() => {
      throw new Error(`there is no ${binary}: run \`cargo build\`, or name the program in FRESHET_BIN`);
    });
    const folder = await mkdtemp(join(tmpdir(), "freshet-js-"));
    // PostgreSQL runs as another account where the suite runs as root, and must reach its data.
    await chmod(folder, 0o755);
    const server = new Server(command, options, folder);
    if (options.config !== undefined) await writeFile(join(folder, "freshet.toml"), options.config);
    try {
      await server.#run();
      if (command === "serve" && !options.memory) await server.#addProducts();
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  constructor(command, options, folder) {
    this.#command = command;
    this.#options = options;
    this.#folder = folder;
  }

  /** host:port of the public listener; the same after a restart. */
  get address() {
    return this.#public;
  }

  /** `http://host:port`. */
  get url() {
    return `http://${this.#public}`;
  }

  /** Where WebSockets are opened. */
  get ws() {
    return `ws://${this.#public}/v1/ws`;
  }

  /** `http://host:port` of the operations listener. */
  get operations() {
    return `http://${this.#operations}`;
  }

  /** The process id, while it runs. */
  get pid() {
    return this.#child?.pid;
  }

  /** Sends SIGTERM and waits for the drain and the end; answers the exit code. */
  stop() {
    return this.#end("SIGTERM");
  }

  /** Sends SIGKILL. Waits for the private PostgreSQL, which notices and shuts down, too. */
  async kill() {
    await this.#end("SIGKILL");
    const lock = join(this.#folder, "data", "postmaster.pid");
    await until("PostgreSQL has ended", () =>
      stat(lock).then(
        () => false,
        () => true,
      ),
    );
  }

  /** Starts it again after `stop` or `kill`, at the same addresses and with the same data. */
  async restart() {
    if (this.#child !== null) throw new Error("stop or kill the server before it is started again");
    await this.#run();
  }

  /** Stops it if it runs, and removes its folder. For `after` of a suite. */
  async remove() {
    await this.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Calls a method over `POST /v1/rpc`: what somebody else does while a client is under test. Answers the result. */
  async call(method, params) {
    const response = await fetch(`${this.url}/v1/rpc`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const { result, error } = await response.json();
    if (error) throw Object.assign(new Error(`${method}: ${error.message}`), error);
    return result;
  }

  /** Runs SQL in the private PostgreSQL, as its superuser; answers what psql prints, unaligned. */
  async sql(text) {
    const args = ["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", await this.#socket(), "-U", "postgres", "-d", "freshet", "-c", text];
    const { stdout } = await promisify(execFile)("psql", args);
    return stdout.trim();
  }

  /** The node's counters: metric name and labels, as printed, to number. */
  async metrics() {
    const text = await (await fetch(`${this.operations}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").pop())]),
    );
  }

  // The folder of the private PostgreSQL's socket.
  async #socket() {
    const lock = await readFile(join(this.#folder, "data", "postmaster.pid"), "utf8");
    return lock.split("\n")[4].trim();
  }

  // A new data folder has no collection, and a node reads what there is when it starts.
  async #addProducts() {
    const url = `postgres://postgres@localhost/freshet?host=${encodeURIComponent(await this.#socket())}`;
    const config = this.#options.config === undefined ? [] : ["--config", join(this.#folder, "freshet.toml")];
    await promisify(execFile)(binary, ["migrate", "--demo", "--database-url", url, ...config]);
    await this.stop();
    await this.restart();
  }

  async #run() {
    this.#spawn();
    const from = this.output.length;
    const announced = () => addresses(this.output.slice(from));
    const ended = () => (this.#child === null ? new Error(`freshet ended at its start:\n${this.output}`) : null);
    await until("freshet announces its addresses", announced, { ended, within: 60_000 });
    ({ open: this.#public, operations: this.#operations } = announced());
    const isReady = () =>
      fetch(`${this.operations}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
    await until("freshet is ready", isReady, { ended, within: 60_000 });
  }

  #spawn() {
    const { args = [], env = {}, memory = false, config } = this.#options;
    const own = ["--listen", this.#public, "--operations", this.#operations];
    own.push(...(memory ? ["--memory"] : ["--data-dir", join(this.#folder, "data")]));
    if (config !== undefined) own.push("--config", join(this.#folder, "freshet.toml"));
    const child = spawn(binary, [this.#command, ...own, ...args], {
      env: { ...process.env, NO_COLOR: "1", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
    const guard = spawn("/bin/sh", ["-c", GUARD, "guard", String(child.pid), this.#folder], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    guard.unref();
    guard.stdin.unref();
    this.#guard = guard;
    child.once("exit", () => {
      this.#child = null;
      this.#guard.stdin.end("done\n");
    });
  }

  async #end(signal) {
    const child = this.#child;
    if (child === null) return undefined;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = await exited;
    return code;
  }
}

// `serve` logs them, `demo` prints them for people.
function addresses(output) {
  const logged = /serves public=(\S+) operations=(\S+)/.exec(output);
  const printed = /page\s+http:\/\/([^/]+)\/[\s\S]*operations\s+http:\/\/([^/]+)\//.exec(output);
  const found = logged ?? printed;
  return found && { open: found[1], operations: found[2] };
}
