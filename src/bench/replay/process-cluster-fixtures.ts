/** A cluster of `daysix serve` and `daysix node` processes on this machine, to be struck. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { generateSecret } from "../../cluster/index.ts";
import { Relay } from "../../cluster/relay-fixtures.ts";
import { askServer, type Server } from "../../gateway/index.ts";

const main = fileURLToPath(new URL("../../cli/main.js", import.meta.url));
const START_MS = 300_000;
const LOOK_MS = 10;
const JOINED = /node (\d+): joined/;
/** Where others dial a node, and where it listens, at the same port. */
const [ADVERTISED, OWN] = ["127.0.0.2", "127.0.0.3"];

export interface ClusterOptions {
  readonly topology: string;
  /** As `--nodes` has it. Node 0 serves. */
  readonly nodes: number | readonly number[];
  /** For the secret, and the ledger. */
  readonly folder: string;
  readonly flags?: readonly string[];
}

/** A process, and what it has said on both outputs. */
interface Spoken {
  readonly process: ChildProcess;
  said: string;
}

/** The place of a node: whoever has it is reached, and reaches the server, over ways of this process. */
interface Place {
  readonly start: () => Spoken;
  node: Spoken;
  readonly ways: Readonly<Record<Way, Relay>>;
}

/** `server`: to node 0; `later`: from the nodes that joined after it. */
export type Way = "server" | "later";

export class ProcessCluster {
  readonly server: Server;
  readonly ledger: string;
  readonly #serve: Spoken;
  /** Of all nodes but the one that serves. */
  readonly #places: readonly Place[];

  /** Resolves when the server answers. */
  static async start(options: ClusterOptions): Promise<ProcessCluster> {
    const { topology, nodes, folder, flags = [] } = options;
    const counts = typeof nodes === "number" ? [nodes] : nodes;
    const others = counts.reduce((sum, each) => sum + each, 0) - 1;
    const ledger = join(folder, "ledger");
    const secretFile = join(folder, "secret");
    writeFileSync(secretFile, generateSecret());
    const shared = others > 0 ? ["--secret-file", secretFile] : [];
    const listens = others > 0 ? ["--nodes", counts.join("+"), "--listen", "127.0.0.1:0"] : [];
    const serve = speak(
      ["serve", "--port", "0", "--topology", topology, "--ledger", ledger],
      [...listens, ...shared, ...flags],
    );
    const places: Place[] = [];
    try {
      if (others > 0) {
        const [, port] = await hears(serve, /waiting for .* at [^\s:]+:(\d+)/);
        const place = async () => places.push(await startPlace(Number(port), shared));
        await Promise.all(Array.from({ length: others }, place));
      }
      const numbers = new Map<Place, number>();
      for (const place of places) {
        numbers.set(place, Number((await hears(place.node, JOINED))[1]));
      }
      places.sort((a, b) => (numbers.get(a) ?? 0) - (numbers.get(b) ?? 0));
      const [, url] = await hears(serve, /at (http:\S+)\/v1/);
      return new ProcessCluster({ url }, ledger, serve, places);
    } catch (error) {
      await endAll(serve, places, "SIGKILL");
      throw error;
    }
  }

  private constructor(server: Server, ledger: string, serve: Spoken, places: readonly Place[]) {
    this.server = server;
    this.ledger = ledger;
    this.#serve = serve;
    this.#places = places;
  }

  /** How many nodes there are beside the one that serves, numbered from 1. */
  get others(): number {
    return this.#places.length;
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
    const place = this.#places[node - 1];
    await ended(place.node.process);
    place.node = place.start();
    await hears(place.node, JOINED);
  }

  /** Waits until so many ranks compute, for so many milliseconds at most; how many do. */
  async await(ranks: number, milliseconds: number): Promise<number> {
    const end = performance.now() + milliseconds;
    for (;;) {
      const up = await this.metric("daysix_rank_up");
      if (up === ranks || performance.now() > end) return up;
      await sleep(100);
    }
  }

  /** Strikes a node's process. */
  strike(node: number, signal: NodeJS.Signals): void {
    this.#places[node - 1].node.process.kill(signal);
  }

  way(node: number, way: Way): Relay {
    return this.#places[node - 1].ways[way];
  }

  /** Nodes that have ended though nothing has killed them; what they have said. */
  get dead(): readonly string[] {
    return this.#places.flatMap(({ node: { process: node, said } }) =>
      node.exitCode === null ? [] : [said],
    );
  }

  /** What the server has said. */
  get said(): string {
    return this.#serve.said;
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
    const status = await endAll(this.#serve, this.#places, signal);
    return { status, said: this.#serve.said };
  }
}

/** The server ends by the signal, and then the others; with which status it did. */
async function endAll(serve: Spoken, places: readonly Place[], signal: NodeJS.Signals) {
  serve.process.kill(signal);
  const status = await ended(serve.process);
  for (const { node, ways } of places) {
    node.process.kill("SIGKILL");
    await ended(node.process);
    for (const way of Object.values(ways)) way.close();
  }
  return status;
}

async function startPlace(port: number, flags: readonly string[]): Promise<Place> {
  const ways = {
    server: await Relay.start(port),
    later: await Relay.start({ host: OWN }, ADVERTISED),
  };
  const reached = ["--listen", `${OWN}:${ways.later.port}`, "--advertise", ADVERTISED];
  const start = () =>
    speak(["node", "--join", `127.0.0.1:${ways.server.port}`], [...reached, ...flags]);
  return { start, node: start(), ways };
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
  for (const end = performance.now() + START_MS; performance.now() < end;) {
    const match = expected.exec(spoken.said);
    if (match) return match;
    if (child.exitCode !== null || child.signalCode !== null) break;
    await sleep(LOOK_MS);
  }
  const { spawnargs, exitCode } = child;
  throw new Error(
    `${spawnargs.join(" ")}: expected ${expected.source}, heard ${spoken.said}; ${exitCode}`,
  );
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}
