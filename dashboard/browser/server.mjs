import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** The clock of /proc: ticks a second. */
const TICKS = 100;

/** A server of the bundled model on a free port; `options` as `daysix serve` has them. */
export async function startServer(...options) {
  const args = [program, "serve", "--port", "0", "--log-level", "error", ...options];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  process.once("exit", () => child.kill());
  for await (const line of createInterface({ input: child.stdout })) {
    const [url] = /http:\/\/[\d.]+:\d+/.exec(line) ?? [];
    if (url) return new Server(child, exited, url);
  }
  assert.fail(`the server ended with status ${await exited}`);
}

class Server {
  #child;
  #exited;

  constructor(child, exited, url) {
    this.#child = child;
    this.#exited = exited;
    this.url = url;
  }

  /** Seconds of processor time that the server and its children have taken so far. */
  processorSeconds() {
    const pids = [this.#child.pid, ...this.#children().map(({ pid }) => pid)];
    return pids.reduce((sum, pid) => sum + ticksOf(pid), 0) / TICKS;
  }

  /** Ends the process of another node at once, as a machine that is cut off. */
  killNode() {
    const node = this.#children().find(({ args }) => args.includes("node-process"));
    assert.ok(node, "there is another node");
    process.kill(node.pid, "SIGKILL");
  }

  /** Asks the server to let live answers finish and then to end. */
  drain() {
    this.#child.kill("SIGTERM");
  }

  /** Resolves to its status. */
  async stop() {
    this.drain();
    return this.#exited;
  }

  async json(path) {
    return (await fetch(this.url + path)).json();
  }

  /** The sum of a counter of /metrics over its labels; the name is a pattern. */
  async metric(name) {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))];
    assert.ok(lines.length > 0, `/metrics has ${name}`);
    return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  #children() {
    const { pid } = this.#child;
    const list = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return list.split(" ").map((child) => ({
      pid: Number(child),
      args: readFileSync(`/proc/${child}/cmdline`, "utf8"),
    }));
  }
}

/** User's and system's ticks of a process: fields 14 and 15 of its stat. */
function ticksOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
