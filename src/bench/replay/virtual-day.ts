import { scaleFor, type Demand, type ScaleRule, type ScaleState } from "../../balancing/index.ts";
import { parseTopology } from "../../cluster/index.ts";
import { greedySampling, Router } from "../../engine/index.ts";
import { publishedNoon, publishedPriceModel, type LedgerRecord } from "../../gateway/index.ts";
import { randomSource } from "../../kernels/index.ts";
import { shareAt } from "./day-shape.ts";
import { VirtualUnits, type VirtualUnit } from "./virtual-units.ts";

const HOUR = 3600;
const DECISION_SECONDS = 900;
/** Before the day, so that it begins with units at work. */
const WARM_UP = HOUR;
/** Requests that one of the replay stands for, and tokens that one of its tokens stands for. */
const REQUESTS = 500;
const TOKENS = 100;

/** Of the published day: totals, and lengths that give them and 4,989 tokens of KV an output token. */
const requestsADay = 138.7e6;
const promptTokens = 4383;
const answerTokens = 1211;
const hitShare = 342 / 608;

const nodesOf = { prefill: 4, decode: 18 } as const;
const acceleratorsPerNode = 8;
/** Tokens a second that a prefill unit computes: 48.9k a node (8K batches, balance 0.8). */
const PREFILL_RATE = 4 * 48_900;
/** Milliseconds of a step with so many requests on each accelerator, fitted to EP144; 1.6 tokens a step. */
const stepMs = (requests: number) => 36 + 0.46 * requests;
const TOKENS_PER_STEP = 1.6;

export const publishedRule: ScaleRule = {
  always: { prefill: 2, decode: 0 },
  group: { prefill: 3, decode: 1 },
  ...{ leastGroups: 2, mostGroups: 9 },
  carries: { prefill: nodesOf.prefill * 80_400, decode: nodesOf.decode * 15_900 },
  ...{ slack: 0.05, patienceMs: 900_000 },
};

export interface VirtualDay {
  readonly records: readonly LedgerRecord[];
  /** [hours] nodes, on average. */
  readonly nodes: readonly number[];
  /** [hours] tokens a second of a request, on average and in the slowest second. */
  readonly speed: readonly number[];
  readonly slowest: number;
  /** Most seconds of prompts that waited for a prefill unit. */
  readonly longestQueue: number;
  readonly failed: number;
}

interface Live {
  readonly route: NonNullable<ReturnType<Router["route"]>>;
  readonly prefill: VirtualUnit;
  readonly decode: VirtualUnit;
  toCompute: number;
  toAnswer: number;
  told: number;
}

/** DeepSeek's day on a virtual clock, a second at a time. */
export function virtualDay(rule: ScaleRule = publishedRule, seed = 1): VirtualDay {
  const units = new VirtualUnits(rule);
  const { prefill, decode } = { prefill: units.held("prefill"), decode: units.held("decode") };
  const router = new Router({
    topology: parseTopology(`prefill=${prefill}x1,decode=${decode}x1`),
    costs: { perToken: 1, perAttentionPair: 0 },
    ...{ pages: 1e6, stepRows: 1e6 },
  });
  const random = randomSource(seed);
  const queues = new Map(units.all.map((unit) => [unit, [] as Live[]]));
  const asked = { input: 0, output: 0 };
  const day = {
    records: [] as LedgerRecord[],
    nodes: hourly(),
    speed: hourly(),
    answered: hourly(),
  };
  const totals = { input: 0, output: 0 };
  const worst = { slowest: Infinity, longestQueue: 0 };
  let state: ScaleState = { groups: rule.mostGroups };
  let told = "";
  let nextArrival = -WARM_UP;
  let failed = 0;

  const arrive = () => {
    const length = Math.max(1, Math.round(promptTokens / TOKENS));
    const answer = Math.max(TOKENS, -Math.log1p(-random()) * answerTokens);
    const route = router.route(requestOf(length, Math.ceil(answer / TOKENS)), units.closed);
    if (!route) {
      failed++;
      return;
    }
    const [first, second] = [route.rank, route.decodeRank ?? route.rank];
    const live = {
      ...{ route, prefill: units.all[first], decode: units.all[second], told: 0 },
      ...{ toCompute: promptTokens * (1 - hitShare) * REQUESTS, toAnswer: answer },
    };
    live.prefill.live++;
    live.decode.live++;
    asked.input += promptTokens * REQUESTS;
    queues.get(live.prefill)?.push(live);
  };

  const prefillSecond = (unit: VirtualUnit) => {
    const queue = queues.get(unit) ?? [];
    const waiting = queue.reduce((sum, { toCompute }) => sum + toCompute, 0) / PREFILL_RATE;
    worst.longestQueue = Math.max(worst.longestQueue, waiting);
    for (let left = PREFILL_RATE; left > 0 && queue.length > 0;) {
      const [head] = queue;
      const done = Math.min(left, head.toCompute);
      head.toCompute -= done;
      left -= done;
      if (head.toCompute > 0) break;
      queue.shift();
      unit.live--;
      head.route.hear("token", unit.rank);
      queues.get(head.decode)?.push(head);
    }
  };

  const decodeSecond = (unit: VirtualUnit, hour: number) => {
    const queue = queues.get(unit) ?? [];
    if (queue.length === 0) return;
    const perAccelerator = (queue.length * REQUESTS) / (nodesOf.decode * acceleratorsPerNode);
    const speed = (1000 * TOKENS_PER_STEP) / stepMs(perAccelerator);
    if (hour >= 0) worst.slowest = Math.min(worst.slowest, speed);
    const left = queue.filter((live) => {
      const done = Math.min(speed, live.toAnswer);
      live.toAnswer -= done;
      asked.output += done * REQUESTS;
      for (live.told += done; live.told >= TOKENS; live.told -= TOKENS) {
        live.route.hear("token", unit.rank);
      }
      if (hour >= 0) {
        day.speed[hour] += speed * done;
        day.answered[hour] += done;
      }
      if (live.toAnswer > 0) return true;
      live.route.hear("finished", unit.rank);
      live.route.release();
      unit.live--;
      return false;
    });
    queues.set(unit, left);
  };

  for (let now = -WARM_UP; now < 24 * HOUR; now++) {
    const hour = Math.floor(now / HOUR);
    for (; nextArrival <= now; nextArrival += gapAt(now, random())) arrive();
    for (const unit of units.all) {
      if (unit.role === "prefill") prefillSecond(unit);
      else decodeSecond(unit, hour);
    }
    if ((now + WARM_UP) % DECISION_SECONDS === DECISION_SECONDS - 1) {
      const perSecond = (tokens: number) => tokens / DECISION_SECONDS;
      const demand: Demand = {
        ...{ prefill: perSecond(asked.input), decode: perSecond(asked.output), at: now * 1000 },
      };
      // The first quarter of an hour begins without any request.
      if (now > 0) state = scaleFor(demand, state, rule);
      if (hour >= 0) {
        totals.input += asked.input;
        totals.output += asked.output;
      }
      [asked.input, asked.output] = [0, 0];
      units.scaleTo(state.groups, now);
    }
    units.settle(now);
    if (hour < 0) continue;
    const nodes = topologyOf(units);
    day.nodes[hour] += (nodes.prefillNodes + nodes.decodeNodes) / HOUR;
    if (JSON.stringify(nodes) === told) continue;
    const event = told === "" ? "start" : "change";
    day.records.push({ kind: "topology", time: publishedNoon + now * 1000, event, ...nodes });
    told = JSON.stringify(nodes);
  }
  const time = publishedNoon + 24 * HOUR * 1000;
  day.records.push(wholeDay(time, totals));
  day.records.push({ kind: "topology", time, event: "stop", ...topologyOf(units) });
  const speed = day.speed.map((sum, hour) => sum / day.answered[hour]);
  return { records: day.records, nodes: day.nodes, speed, ...worst, failed };
}

const hourly = () => Array.from({ length: 24 }, () => 0);

/** Seconds to the next request of the replay. */
function gapAt(second: number, random: number): number {
  const perSecond = (requestsADay / REQUESTS / (24 * HOUR)) * shareAt(second / HOUR);
  return -Math.log1p(-random) / perSecond;
}

const prompts = new Map<number, Uint32Array>();

function requestOf(length: number, maxTokens: number) {
  const prompt = prompts.get(length) ?? new Uint32Array(length);
  prompts.set(length, prompt);
  const none = { id: "", tenant: "", choice: 0, stopTokens: [], sampling: greedySampling };
  return { ...none, prompt, maxTokens };
}

const topologyOf = (units: VirtualUnits) => ({
  prefillNodes: nodesOf.prefill * units.held("prefill"),
  decodeNodes: nodesOf.decode * units.held("decode"),
  combinedNodes: 0,
  acceleratorsPerNode,
});

function wholeDay(
  time: number,
  { input, output }: { input: number; output: number },
): LedgerRecord {
  const hit = Math.round(input * hitShare);
  return {
    ...{ kind: "request", time, id: "the whole day", requestId: "", tenant: "everybody" },
    ...{ model: publishedPriceModel, outcome: "complete", finishReasons: [], kvTokensRead: 0 },
    tokens: { hit, miss: Math.round(input) - hit, output: Math.round(output), reasoning: 0 },
    timing: { sequences: 0, firstTokenMs: 0, decodeMs: 0 },
    billing: { kind: "unbilled", reason: "unknown" },
  };
}
