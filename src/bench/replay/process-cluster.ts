/** A cluster of `daysix serve` and `daysix node` processes on this machine, to be struck. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { generateSecret } from "../../cluster/index.ts";
import { askServer, type Server } from "../../gateway/index.ts";

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const START_MS = 120_000;
const LOOK_MS = 10;
/** For a unit to start again. */
const WHOLE_MS = 20_000;
const JOINED = /node (\d+): joined/;

export interface ClusterOptions {
  readonly topology: string;
  /** Nodes of each unit; node 0, which has the first unit, serves. */
  readonly nodes: readonly number[];
  /** For the secret, and the ledger. */
  readonly folder: string;
  readonly flags?: readonly string[];
}

/** A process, and what it has said on both outputs. */
interface Spoken {
  readonly process: ChildProcess;
  said: string;
}

export class ProcessCluster {
  readonly server: Server;
  readonly ledger: string;
  /** By number; node 0 serves. */
  readonly #nodes: Spoken[];
  readonly #startNode: () => Spoken;

  /** Resolves when the server answers. */
  static async start({
    topology,
    nodes,
    folder,
    flags = [],
  }: ClusterOptions): Promise<ProcessCluster> {
    const count = nodes.reduce((sum, each) => sum + each, 0);
    const ledger = join(folder, "ledger");
    const secretFile = join(folder, "secret");
    writeFileSync(secretFile, generateSecret());
    const shared = count > 1 ? ["--secret-file", secretFile] : [];
    const listens = count > 1 ? ["--nodes", nodes.join("+"), "--listen", "127.0.0.1:0"] : [];
    const serve = speak(
      ["serve", "--port", "0", "--topology", topology, "--ledger", ledger],
      [...listens, ...shared, ...flags],
    );
    const all = [serve];
    let startNode = (): Spoken => {
      throw new RangeError("this cluster has one node");
    };
    if (count > 1) {
      const [, port] = await hears(serve, /waiting for .* at [^\s:]+:(\d+)/);
      startNode = () => speak(["node", "--join", `127.0.0.1:${port}`], shared);
      const others = Array.from({ length: count - 1 }, startNode);
      for (const other of others) {
        const [, number] = await hears(other, JOINED);
        all[Number(number)] = other;
      }
    }
    const [, url] = await hears(serve, /at (http:\S+)\/v1/);
    return new ProcessCluster({ url }, ledger, all, startNode);
  }

  private constructor(
    server: Server,
    ledger: string,
    nodes: readonly Spoken[],
    startNode: () => Spoken,
  ) {
    this.#startNode = startNode;
    this.server = server;
    this.ledger = ledger;
    this.#nodes = [...nodes];
  }

  /** The sum of a figure of `/metrics` over all labels, or those with one; 0 where nothing is counted yet. */
  async metric(name: string, label = ""): Promise<number> {
    const text = await (await askServer(this.server, "/metrics")).text();
    const lines = text.split("\n").filter((line) => line.startsWith(name) && line.includes(label));
    const values = lines.flatMap((line) => /^[^ {]+(?:\{.*\})? (\S+)$/.exec(line)?.[1] ?? []);
    if (!text.includes(`# TYPE ${name} `)) throw new Error(`no metric ${name}`);
    return values.reduce((sum, value) => sum + Number(value), 0);
  }

  /** Another node joins in the place of one that has ended. */
  async replace(node: number): Promise<void> {
    this.#nodes[node] = this.#startNode();
    await hears(this.#nodes[node], JOINED);
  }

  /** Waits until so many ranks compute, or for a while. */
  async await(ranks: number): Promise<void> {
    for (let waited = 0; waited < WHOLE_MS; waited += 100) {
      if ((await this.metric("daysix_rank_up")) >= ranks) return;
      await sleep(100);
    }
  }

  /** Strikes a node's process. */
  strike(node: number, signal: NodeJS.Signals): void {
    this.#nodes[node].process.kill(signal);
  }

  /** The server finishes what is live and ends; its status, and what it has said. */
  async close(): Promise<{ readonly status: number | null; readonly said: string }> {
    return this.#end("SIGTERM");
  }

  /** The server is killed. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals) {
    const [serve, ...others] = this.#nodes;
    serve.process.kill(signal);
    const status = await ended(serve.process);
    for (const { process: node } of others) {
      node.kill("SIGKILL");
      await ended(node);
    }
    return { status, said: serve.said };
  }
}

/** They end with this process, however it ends. */
const children = new Set<ChildProcess>();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

function speak(command: readonly string[], flags: readonly string[]): Spoken {
  const child = spawn(process.execPath, [main, ...command, ...flags], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.add(child);
  child.once("exit", () => children.delete(child));
  const spoken: Spoken = { process: child, said: "" };
  for (const output of [child.stdout, child.stderr]) {
    output?.on("data", (data: Buffer) => (spoken.said += data.toString()));
  }
  return spoken;
}

/** Waits until a process has said something. @throws Error with all it said, if it ends before */
async function hears(spoken: Spoken, expected: RegExp): Promise<RegExpExecArray> {
  const { process: child } = spoken;
  for (let waited = 0; waited < START_MS; waited += LOOK_MS) {
    const match = expected.exec(spoken.said);
    if (match) return match;
    if (child.exitCode !== null || child.signalCode !== null) break;
    await sleep(LOOK_MS);
  }
  throw new Error(`expected ${expected.source}, heard: ${spoken.said}`);
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}
