/**
 * Chaos among real processes: bursts of requests over HTTP while a node is killed or frozen, and now and
 * then the server itself. Answers are compared with those of a server that nobody touches, and bills with
 * what clients were told.
 */
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { parseTopology } from "../../cluster/index.ts";
import { askServer, readLedger, type LedgerRecord, type Server } from "../../gateway/index.ts";
import { Draw } from "./chaos-schedule.ts";
import { ProcessCluster } from "./process-cluster.ts";
import { ask, compare, drawRequest, type Told } from "./process-requests.ts";

/** Of each topology, the nodes of its units; the first unit's serves and stays. */
const clusters: readonly (readonly [topology: string, nodes: readonly number[]])[] = [
  ["combined=3x1", [1, 1, 1]],
  ["combined=3x2", [1, 1, 1]],
  ["prefill=2x1,decode=2x1", [1, 1, 1, 1]],
  ["prefill=1x2,decode=2x2", [1, 1, 1]],
  ["prefill=2x2,decode=1x2", [1, 1, 1]],
];

/** Blows that a cluster meets. */
const SCHEDULES = 8;
/** Of a request, when it is struck: about half of what it says. */
const MEAN_CHUNKS = 60;
const LATEST_STRIKE_MS = 5000;

export interface ProcessOutcome {
  readonly problems: readonly string[];
  readonly finished: number;
  readonly cancelled: number;
  readonly strikes: number;
  readonly resumed: number;
}

type Sums = { -readonly [Name in Exclude<keyof ProcessOutcome, "problems">]: number };

/** Schedules on a cluster, one after the other: a burst of requests and a blow each. */
export async function runProcesses(
  seed: number,
  calm: Server,
): Promise<ProcessOutcome & { readonly schedules: number }> {
  const draw = new Draw(seed);
  const [topology, nodes] = draw.oneOf(clusters);
  const folder = await mkdtemp(join(tmpdir(), "daysix-chaos-"));
  const cache = draw.chance(0.6) ? join(folder, "cache") : undefined;
  const cluster = await ProcessCluster.start({
    ...{ topology, nodes, folder },
    flags: [
      ...["--kv-memory", "16M", "--failure-timeout", "3s"],
      ...(cache === undefined ? [] : ["--cache-dir", cache]),
      ...(draw.chance(0.3) ? ["--redundant-experts", "6"] : []),
    ],
  });
  const sums: Sums = { finished: 0, cancelled: 0, strikes: 0, resumed: 0 };
  const problems: string[] = [];
  const told: Told[] = [];
  const killsServer = draw.chance(0.3);
  for (let left = SCHEDULES; left > 0; left--) {
    const isLast = left === 1 && killsServer;
    const victim = draw.between(1, nodes.length - 1);
    const isFrozen = draw.chance(0.2);
    if (cache !== undefined && draw.chance(0.3)) await damage(cache, draw);
    const burst = await sendBurst(cluster, draw, async () => {
      if (isLast) await cluster.kill();
      else cluster.strike(victim, isFrozen ? "SIGSTOP" : "SIGKILL");
    });
    sums.strikes++;
    const found = await Promise.all(
      burst.map(({ asked, heard }) => compare(calm, asked, heard, isLast)),
    );
    problems.push(...found.flatMap((problem) => problem ?? []));
    for (const { asked, heard } of burst) {
      told.push(heard);
      if (heard.usage) sums.finished++;
      else if (asked.patience !== undefined && heard.error === undefined) sums.cancelled++;
    }
    if (isLast) break;
    sums.resumed = await cluster.metric("daysix_resumed_requests_total");
    // Who wakes up has lost its server, and joins again; the next burst need not wait for either.
    if (isFrozen) cluster.strike(victim, "SIGCONT");
    else await cluster.replace(victim);
    if (draw.chance(0.7)) await cluster.await(parseTopology(topology).ranks);
  }
  if (!killsServer) {
    problems.push(...(await settle(cluster)));
    const { status, said } = await cluster.close();
    if (status !== 0) problems.push(`the server has ended with ${status}: ${said}`);
  }
  problems.push(...(await audit(cluster.ledger, told)));
  await rm(folder, { recursive: true });
  return { problems, ...sums, schedules: SCHEDULES };
}

/** Requests at once; when so many chunks have come, or after a while, comes the blow. */
async function sendBurst(cluster: ProcessCluster, draw: Draw, strike: () => Promise<void>) {
  const requests = Array.from({ length: draw.between(3, 8) }, () => drawRequest(draw));
  let chunksLeft = draw.below(requests.length * MEAN_CHUNKS);
  const due = new AbortController();
  const timer = setTimeout(() => due.abort(), LATEST_STRIKE_MS);
  const isDue = once(due.signal, "abort");
  const answers = requests.map((asked) =>
    ask(cluster.server, asked, () => {
      if (--chunksLeft <= 0) due.abort();
    }),
  );
  const movesExperts = draw.chance(0.5);
  await isDue;
  clearTimeout(timer);
  if (movesExperts) await askServer(cluster.server, "/rebalance", {}).catch(() => undefined);
  await strike();
  const heard = await Promise.all(answers);
  return requests.map((asked, i) => ({ asked, heard: heard[i] }));
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
  const calm = await ProcessCluster.start({ topology: "combined=1x1", nodes: [1], folder, flags });
  try {
    return await use(calm.server);
  } finally {
    await calm.close();
    await rm(folder, { recursive: true });
  }
}
