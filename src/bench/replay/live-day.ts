#!/usr/bin/env node
/**
 * `npm run replay:live-day [-- SECONDS]`: the published day on a real server, each hour in so many seconds
 * (6): calf on nodes of their own, units that follow the load (`--scale-policy`), and requests that follow
 * the hours' incomes. Prints hour by hour what was asked, which units were wanted and served, what became of
 * requests, and the ledger's node-hours beside those that the policy has for the same load by itself. Ends
 * with status 1 if a request failed or had another answer than an undisturbed rank gives.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { decideUnits, type LoadPolicy, type LoadState } from "../../balancing/index.ts";
import {
  askServer,
  defaultPrices,
  parseDollars,
  publishedAcceleratorHour,
  publishedPriceModel,
  readLedger,
  reportOn,
  type LedgerRecord,
  type StatusSnapshot,
} from "../../gateway/index.ts";
import { busiestShare, shareAt } from "./day-shape.ts";
import { ProcessCluster } from "./process-cluster-fixtures.ts";
import { ask, type Asked, type Told } from "./process-requests.ts";

const [secondsPerHour = 6] = process.argv.slice(2).map(Number);
const HOURS = 24;
const MOST = 3;
const most = { prefill: MOST, decode: MOST };
/** Hours before the day, so that it begins with units at work. */
const WARM_UP = 1;
/** Requests a second on average, and tokens of each; the busiest hour needs the most units. */
const REQUESTS = 5;
const PROMPT_TOKENS = 120;
const ANSWER_TOKENS = 24;
/** Of a unit's aim, what the busiest hour asks of the most units. */
const FILLED = 0.92;

const carries = {
  prefill: Math.round((REQUESTS * busiestShare * PROMPT_TOKENS) / (FILLED * most.prefill)),
  decode: Math.round((REQUESTS * busiestShare * ANSWER_TOKENS) / (FILLED * most.decode)),
};
const policy: LoadPolicy = {
  ...{ carries, least: 1, most: MOST, slack: 0.05 },
  ...{ everyMs: secondsPerHour * 250, patienceMs: secondsPerHour * 250 },
};

/** Greedy and drawn, with prompts of their own. */
const requests = Array.from({ length: 24 }, (_, i): Asked => {
  const prompt = Array.from({ length: PROMPT_TOKENS }, (__, j) => 16 + ((i * 131 + j * 17) % 1000));
  const drawn = i % 2 === 0 ? { temperature: 0 } : { temperature: 0.9, seed: i };
  const body = {
    ...{ model: "calf", prompt, stream: true, stream_options: { include_usage: true } },
    ...{ max_tokens: ANSWER_TOKENS, logprobs: 1, logit_bias: { 0: -100, 1: -100 }, ...drawn },
  };
  return { body, patience: undefined };
});

const said = ({ texts, logprobs, finishReasons }: Told) =>
  JSON.stringify([texts, logprobs, finishReasons]);

async function withCluster<Result>(
  options: Pick<Parameters<typeof ProcessCluster.start>[0], "topology" | "nodes" | "flags">,
  use: (cluster: ProcessCluster) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "daysix-day-"));
  try {
    return await use(await ProcessCluster.start({ ...options, folder }));
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface Hour {
  readonly done: number;
  readonly failed: number;
  readonly differing: number;
  readonly seen: readonly Units[];
}

/** Units of each kind: prefill, decode. */
interface Units {
  readonly wanted: readonly number[];
  readonly serving: readonly number[];
}

const roles = ["prefill", "decode"] as const;
const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** What the policy has with units that serve at once, of requests that come as they should: nodes by hour. */
function planned(): number[] {
  const wanted = { ...most };
  let state: LoadState = { kinds: {} };
  const tokens = { prefill: 0, decode: 0 };
  const nodes = Array.from({ length: HOURS }, () => 0);
  for (let quarter = -4 * WARM_UP; quarter < HOURS * 4; quarter++) {
    const units = roles.map((kind) => ({
      ...{ kind, ranks: 1, wanted: wanted[kind], serving: wanted[kind] },
    }));
    const at = quarter * policy.everyMs;
    const seen = { at, tokens: { ...tokens }, units, room: Infinity, problem: undefined };
    const decision = decideUnits(seen, state, policy);
    state = decision.state;
    for (const { kind, to } of decision.changes) wanted[kind as "prefill"] = to;
    if (quarter >= 0) nodes[Math.floor(quarter / 4)] += (wanted.prefill + wanted.decode) / 4;
    const asked = REQUESTS * shareAt((quarter + 0.5) / 4) * (policy.everyMs / 1000);
    tokens.prefill += asked * PROMPT_TOKENS;
    tokens.decode += asked * ANSWER_TOKENS;
  }
  return nodes;
}

async function liveDay(cluster: ProcessCluster, expected: readonly string[]) {
  const hours = Array.from({ length: HOURS }, () => ({
    ...{ done: 0, failed: 0, differing: 0 },
    seen: [] as Units[],
  }));
  const errors = new Set<string>();
  const began = Date.now() + WARM_UP * secondsPerHour * 1000;
  const hourNow = () => (Date.now() - began) / 1000 / secondsPerHour;
  const look = async () => {
    const status = (await (await askServer(cluster.server, "/status")).json()) as StatusSnapshot;
    const serving = roles.map(
      (role) =>
        status.units.filter((unit) => unit.role === role && unit.state === "serving").length,
    );
    const wanted = roles.map((role) => status.scaling.wanted[role] ?? 0);
    hours[Math.floor(hourNow())]?.seen.push({ wanted, serving });
  };
  const answer = async (index: number) => {
    const hour = hours[Math.max(0, Math.floor(hourNow()))];
    const told = await ask(cluster.server, requests[index % requests.length]);
    if (told.error !== undefined) {
      hour.failed++;
      errors.add(told.error);
    } else hour.done++;
    if (told.error === undefined && said(told) !== expected[index % requests.length]) {
      hour.differing++;
    }
  };
  const live: Promise<void>[] = [];
  let due = 0;
  for (let asked = 0, before = hourNow(); hourNow() < HOURS; await sleep(5)) {
    const now = hourNow();
    due += REQUESTS * shareAt(now) * (now - before) * secondsPerHour;
    if (Math.floor(now * 4) > Math.floor(before * 4)) live.push(look());
    before = now;
    for (; asked < due; asked++) live.push(answer(asked));
  }
  await Promise.all(live);
  return { began, hours: hours as readonly Hour[], errors };
}

const calm = await withCluster({ topology: "combined=1x1", nodes: [1] }, async (cluster) => {
  const answers: string[] = [];
  for (const one of requests) answers.push(said(await ask(cluster.server, one)));
  await cluster.close();
  return answers;
});

const seconds = (ms: number) => `${ms / 1000}s`;
const flag = [
  "load",
  ...roles.map((role) => `${role}=${carries[role]}`),
  `max=${MOST}`,
  `every=${seconds(policy.everyMs)},patience=${seconds(policy.patienceMs)}`,
].join(",");
const day = await withCluster(
  {
    topology: `prefill=${most.prefill}x1,decode=${most.decode}x1`,
    nodes: Array.from({ length: most.prefill + most.decode }, () => 1),
    flags: ["--scale-policy", flag, "--log-level", "info", "--log-format", "json"],
  },
  async (cluster) => {
    const { began, hours, errors } = await liveDay(cluster, calm);
    const { said: log } = await cluster.close();
    const records: LedgerRecord[] = [];
    for await (const line of readLedger(cluster.ledger)) {
      if (line.kind === "record") records.push(line.record);
    }
    return { began, hours, errors, log, records };
  },
);

const options = {
  acceleratorHour: parseDollars(publishedAcceleratorHour) ?? 0n,
  ...{ prices: defaultPrices, priceModel: publishedPriceModel },
};
const hourMs = secondsPerHour * 1000;
/** Of the day's hours, which are so much shorter. */
const nodeHours = async (since: number, until: number) =>
  ((await reportOn(day.records, { ...options, since, until })).nodeHours.all * 3600) /
  secondsPerHour;
const plan = planned();

console.log(`--scale-policy ${flag}
hour (Beijing)  asked/s  wanted p+d  serving p+d   done failed differing  node-hours  planned`);
for (const [hour, { done, failed, differing, seen }] of day.hours.entries()) {
  const since = day.began + hour * hourMs;
  const units = (kind: keyof Units) =>
    [0, 1].map((role) => mean(seen.map((each) => each[kind][role])).toFixed(1)).join("+");
  console.log(
    `${String((12 + hour) % 24).padStart(9)}:00${(REQUESTS * shareAt(hour + 0.5)).toFixed(1).padStart(12)}` +
      `${units("wanted").padStart(12)}${units("serving").padStart(13)}` +
      `${String(done).padStart(7)}${String(failed).padStart(7)}${String(differing).padStart(10)}` +
      `${(await nodeHours(since, since + hourMs)).toFixed(1).padStart(12)}${plan[hour].toFixed(1).padStart(9)}`,
  );
}
const sum = (of: (hour: Hour) => number) => day.hours.reduce((all, hour) => all + of(hour), 0);
const whole = await nodeHours(day.began, day.began + HOURS * hourMs);
const decisions = day.log.split("\n").filter((line) => line.includes('"scale: '));
console.log(`${decisions.length} decisions, such as`);
for (const line of decisions.slice(0, 4))
  console.log(`  ${(JSON.parse(line) as { msg: string }).msg}`);
console.log(
  `${sum(({ done }) => done)} requests done, ${sum(({ failed }) => failed)} failed, ${sum(({ differing }) => differing)} differing; ` +
    `node-hours ${whole.toFixed(1)} in the ledger's report, ${plan.reduce((all, nodes) => all + nodes, 0).toFixed(1)} planned, ` +
    `${(HOURS * (most.prefill + most.decode)).toFixed(1)} without scaling`,
);
for (const error of [...day.errors].slice(0, 5)) console.log(`  failed: ${error}`);
process.exitCode = sum(({ failed, differing }) => failed + differing) === 0 ? 0 : 1;
