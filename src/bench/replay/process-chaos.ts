/**
 * Chaos among real processes: bursts of requests over HTTP while nodes are killed, frozen and cut off,
 * units started and drained, and now and then the server itself is killed. Answers are compared with those
 * of a server that nobody touches, and bills with what clients were told.
 */
import { once } from "node:events";
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { parseTopology, type Topology, type UnitRole } from "../../cluster/index.ts";
import { askServer, readLedger, type LedgerRecord, type Server } from "../../gateway/index.ts";
import { Draw } from "./chaos-schedule.ts";
import { drawBlow, heal, strike, type Blow, type Wanted } from "./process-blows.ts";
import { ProcessCluster } from "./process-cluster-fixtures.ts";
import { ask, compare, drawRequest, type Told } from "./process-requests.ts";

/** Where nodes belong to units, the first unit's serves and stays; else every unit is spread over all of them. */
const clusters: readonly (readonly [topology: string, nodes: number | readonly number[]])[] = [
  ["combined=3x1", [1, 1, 1]],
  ["combined=3x2", [1, 1, 1]],
  ["prefill=2x1,decode=2x1", [1, 1, 1, 1]],
  ["prefill=1x2,decode=2x2", [1, 1, 1]],
  ["prefill=2x2,decode=1x2", [1, 1, 1]],
  ["prefill=1x2,decode=1x2", 2],
];

/** Bursts of requests, each with a blow, that a cluster meets. */
const SCHEDULES = 10;
/** Of a request, when it is struck: about half of what it says. */
const MEAN_CHUNKS = 25;
const LATEST_STRIKE_MS = 3000;
/** For those that were struck to come back, between two bursts. */
const AWHILE_MS = 20_000;
/** For a cluster to be whole when it is left in peace. */
const WHOLE_MS = 120_000;

export interface ProcessOutcome {
  readonly problems: readonly string[];
  readonly counts: Counts;
}

/** Sums over all clusters; of what was done, by kind. */
type Counts = Readonly<Record<string, number>>;

/** A cluster at work, and what it has shown so far. */
class Life {
  readonly problems: string[] = [];
  readonly told: Told[] = [];
  readonly counts: Record<string, number> = {};
  readonly #draw: Draw;
  readonly #cluster: ProcessCluster;
  readonly #calm: Server;
  readonly #topology: Topology;
  readonly #most: Wanted;
  readonly #cache: string | undefined;
  #wanted: Wanted;

  constructor(draw: Draw, cluster: ProcessCluster, calm: Server, setting: Setting) {
    const { topology, nodes, cache } = setting;
    this.#draw = draw;
    this.#cluster = cluster;
    this.#calm = calm;
    this.#cache = cache;
    this.#topology = parseTopology(topology);
    this.#wanted = countUnits(this.#topology);
    // Units that have nodes of their own need them.
    this.#most = typeof nodes === "number" ? timesTwo(this.#wanted) : this.#wanted;
  }

  /** Requests at once, and a blow in their midst. */
  async burst(): Promise<void> {
    const draw = this.#draw;
    if (this.#cache !== undefined && draw.chance(0.3)) await damage(this.#cache, draw);
    const count = draw.chance(0.2) ? 2 : 1;
    const blows = Array.from({ length: count }, () => this.#drawBlow());
    await this.#ask(async () => {
      for (const blow of blows) await strike(this.#cluster, blow);
    });
    for (const blow of blows) {
      this.#count(blow.kind);
      if (blow.kind === "scale") this.#wanted = blow.wanted;
    }
    await heal(this.#cluster, blows);
    // The next burst need not wait for those who join again.
    if (draw.chance(0.7)) await this.#cluster.await(this.#ranks, AWHILE_MS);
  }

  /** Requests at once, in whose midst the server is killed; what is written is written. */
  async killServer(folder: string): Promise<void> {
    await this.#ask(() => this.#cluster.kill(), "may break");
    this.#count("server");
    await appendFile(this.#cluster.ledger, '{"kind":"request","id":"cut by a cra');
    const flags = ["--speculate", "off"];
    const next = await ProcessCluster.start({ topology: "combined=1x1", nodes: 1, folder, flags });
    this.told.push(await ask(next.server, drawRequest(this.#draw)));
    await next.close();
  }

  /** Nothing more befalls it: it becomes whole, and empty, and ends. */
  async end(): Promise<void> {
    const up = await this.#cluster.await(this.#ranks, WHOLE_MS);
    if (up !== this.#ranks) this.problems.push(`${up} ranks compute, not ${this.#ranks}`);
    this.#count("resumed", await this.#cluster.metric("daysix_resumed_requests_total"));
    const guessed = await this.#cluster.metric("vllm:spec_decode_num_accepted_tokens_total");
    this.#count("guessedTokens", guessed);
    this.problems.push(...(await settle(this.#cluster)));
    for (const said of this.#cluster.dead) this.problems.push(`a node has ended: ${said}`);
    const { status, said } = await this.#cluster.close();
    if (status !== 0) this.problems.push(`the server has ended with ${status}: ${said}`);
  }

  #drawBlow(): Blow {
    return drawBlow(this.#draw, this.#cluster.others, this.#most);
  }

  /** Ranks of a cluster that is whole. */
  get #ranks(): number {
    return Object.entries(this.#wanted).reduce((sum, [role, count]) => {
      const unit = this.#topology.units.find((each) => each.role === role);
      return sum + count * (unit?.ranks.length ?? 0);
    }, 0);
  }

  /** When so many chunks have come, or after a while, comes the blow. */
  async #ask(strikeNow: () => Promise<void>, mayBreak?: "may break"): Promise<void> {
    const draw = this.#draw;
    const requests = Array.from({ length: draw.between(2, 6) }, () => drawRequest(draw));
    let chunksLeft = draw.below(requests.length * MEAN_CHUNKS);
    const due = new AbortController();
    const timer = setTimeout(() => due.abort(), LATEST_STRIKE_MS);
    const isDue = once(due.signal, "abort");
    const answers = requests.map((asked) =>
      ask(this.#cluster.server, asked, () => {
        if (--chunksLeft <= 0) due.abort();
      }),
    );
    const movesExperts = draw.chance(0.5);
    await isDue;
    clearTimeout(timer);
    if (movesExperts)
      await askServer(this.#cluster.server, "/rebalance", {}).catch(() => undefined);
    await strikeNow();
    for (const [i, heard] of (await Promise.all(answers)).entries()) {
      const problem = await compare(this.#calm, requests[i], heard, mayBreak !== undefined);
      if (problem !== undefined) this.problems.push(problem);
      this.told.push(heard);
      if (heard.usage) this.#count("finished");
      else if (requests[i].patience !== undefined && !heard.error) this.#count("cancelled");
    }
  }

  #count(what: string, count = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + count;
  }
}

interface Setting {
  readonly topology: string;
  readonly nodes: number | readonly number[];
  readonly cache: string | undefined;
}

function countUnits({ units }: Topology): Wanted {
  const counts: Partial<Record<UnitRole, number>> = {};
  for (const { role } of units) counts[role] = (counts[role] ?? 0) + 1;
  return counts;
}

const timesTwo = (wanted: Wanted): Wanted =>
  Object.fromEntries(Object.entries(wanted).map(([role, count]) => [role, 2 * count]));

/** The life of a cluster: bursts of requests one after the other, and what befalls it meanwhile. */
export async function runProcesses(
  seed: number,
  calm: Server,
): Promise<ProcessOutcome & { readonly schedules: number }> {
  const draw = new Draw(seed);
  const [topology, nodes] = draw.oneOf(clusters);
  const folder = await mkdtemp(join(tmpdir(), "daysix-chaos-"));
  const cache = draw.chance(0.6) ? join(folder, "cache") : undefined;
  const flags = [
    ...["--kv-memory", "16M", "--failure-timeout", "3s"],
    ...(cache === undefined ? [] : ["--cache-dir", cache]),
    ...(draw.chance(0.3) ? ["--redundant-experts", "6"] : []),
  ];
  const killsServer = draw.chance(0.3);
  const cluster = await ProcessCluster.start({ topology, nodes, folder, flags });
  const life = new Life(draw, cluster, calm, { topology, nodes, cache });
  try {
    for (let left = SCHEDULES; left > (killsServer ? 1 : 0); left--) await life.burst();
    if (killsServer) await life.killServer(folder);
    else await life.end();
  } catch (error) {
    const { stack = "" } = error as Error;
    life.problems.push(`${topology}: ${stack}; the server said last: ${cluster.said.slice(-1000)}`);
    await cluster.kill();
  }
  const { problems, told, counts } = life;
  problems.push(...(await audit(cluster.ledger, told)));
  await rm(folder, { recursive: true });
  return { problems, counts, schedules: SCHEDULES };
}

/** Flips a bit of some of the blocks that a cache keeps, or cuts them. */
async function damage(cache: string, draw: Draw): Promise<void> {
  const entries = await readdir(cache, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    // Not the key, without which every block would be new.
    if (!entry.isFile() || entry.name === "key" || draw.chance(0.6)) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path);
    if (bytes.length === 0) continue;
    bytes[draw.below(bytes.length)] ^= 1 << draw.below(8);
    await writeFile(path, draw.chance(0.5) ? bytes : bytes.subarray(0, bytes.length / 2));
  }
}

/** Waits until nothing is live; what is left then. */
async function settle(cluster: ProcessCluster): Promise<string[]> {
  const look = () =>
    Promise.all([
      cluster.metric("vllm:num_requests_running"),
      cluster.metric("vllm:num_requests_waiting"),
      cluster.metric("daysix_kv_pages", 'state="in_use"'),
    ]);
  let left = await look();
  for (let i = 0; i < 100 && left.some((count) => count > 0); i++) {
    await sleep(100);
    left = await look();
  }
  const problems = left.some((count) => count > 0) ? [`still live: ${left.join()}`] : [];
  const billed = sumsOf(await recordsOf(cluster.ledger));
  const metrics = await Promise.all(
    ["prompt_tokens", "prefix_cache_hits", "generation_tokens"].map((name) =>
      cluster.metric(`vllm:${name}_total`),
    ),
  );
  if (!isDeepStrictEqual(metrics, billed)) {
    problems.push(`the ledger has ${billed.join()}, the metrics ${metrics.join()}`);
  }
  return problems;
}

type Bill = Extract<LedgerRecord, { readonly kind: "request" }>;

async function recordsOf(ledger: string): Promise<Bill[]> {
  const bills: Bill[] = [];
  for await (const line of readLedger(ledger)) {
    if (line.kind === "record" && line.record.kind === "request") bills.push(line.record);
  }
  return bills;
}

/** Prompt tokens, hits among them, and generated tokens. */
function sumsOf(bills: readonly Bill[]): number[] {
  const sum = (count: (tokens: Bill["tokens"]) => number) =>
    bills.reduce((all, { tokens }) => all + count(tokens), 0);
  return [sum(({ hit, miss }) => hit + miss), sum(({ hit }) => hit), sum(({ output }) => output)];
}

/** Every answer that a client has whole is billed once, as its usage says. */
async function audit(ledger: string, told: readonly Told[]): Promise<string[]> {
  const bills = await recordsOf(ledger);
  return told.flatMap(({ id, usage }) => {
    if (!usage) return [];
    const own = bills.filter((bill) => bill.id === id).map(({ tokens }) => tokens);
    const {
      prompt_cache_hit_tokens: hit,
      prompt_cache_miss_tokens: miss,
      completion_tokens: output,
    } = usage;
    const due = [{ hit, miss, output, reasoning: 0 }];
    if (isDeepStrictEqual(own, due)) return [];
    return [`${id}: its bills are ${JSON.stringify(own)}, its usage ${JSON.stringify(due)}`];
  });
}

/** A server that nobody touches, on one rank. */
export async function withCalmServer<T>(use: (calm: Server) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "daysix-calm-"));
  const flags = ["--speculate", "off"];
  const calm = await ProcessCluster.start({ topology: "combined=1x1", nodes: 1, folder, flags });
  try {
    return await use(calm.server);
  } finally {
    await calm.close();
    await rm(folder, { recursive: true });
  }
}
