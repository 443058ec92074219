/**
 * Replays of a trace for the tests: a unit kept busy with as many requests as it started with, each
 * replaced when it ends, and how evenly a policy spreads them.
 */
import type { DecodeRank } from "../decode.ts";
import { type PrefillCosts, prefillLoad, type PrefillLoad } from "../prefill.ts";
import { BLOCK_TOKENS, type TraceRequest } from "./traces.ts";

export interface Unit {
  readonly ranks: number;
  /** Requests that the unit holds, on average, per rank. */
  readonly requestsPerRank: number;
}

/** What a policy of the replay sees besides the request. */
export interface Turn<Load> {
  /** How many requests came before. */
  readonly index: number;
  /** [ranks] */
  readonly loads: readonly (Load & { readonly requests: number })[];
  /** [ranks] */
  readonly cachedTokens: readonly number[];
}

/** The simplest policies, to compare with. */
export const simplePolicies = {
  roundRobin: (_: TraceRequest, { index, loads }: Turn<unknown>) => index % loads.length,
  leastRequests: (_: TraceRequest, { loads }: Turn<unknown>) => {
    const counts = loads.map((load) => load.requests);
    return counts.indexOf(Math.min(...counts));
  },
};

/** Compares, over samples, the busiest rank's load with the mean rank's. */
class Evenness<Load extends Readonly<Record<keyof Load, number>>> {
  readonly #samples: (readonly Load[])[] = [];

  /** @param loads [ranks] */
  sample(loads: readonly Load[]): void {
    this.#samples.push(loads);
  }

  /** The mean of the largest `measure` over the mean of `base`. */
  maxOverMean(measure: keyof Load, base = measure): number {
    let max = 0;
    let mean = 0;
    for (const loads of this.#samples) {
      max += Math.max(...loads.map((load) => load[measure]));
      mean += loads.reduce((sum, load) => sum + load[base], 0) / loads.length;
    }
    return max / mean;
  }
}

interface Prefill {
  readonly load: PrefillLoad;
  readonly cost: number;
  costLeft: number;
}

/**
 * Ranks work at one cost a second through their queues, first come, first served, and keep the KV of
 * every prompt. `longestPrompt` is the attention of the longest one waiting over a rank's mean:
 * no policy can be more even than that.
 */
export function replayPrefill(
  trace: readonly TraceRequest[],
  unit: Unit,
  costs: PrefillCosts,
  choose: (request: TraceRequest, turn: Turn<PrefillLoad>) => number,
): Record<"attention" | "longestPrompt" | "work" | "tokens" | "requests" | "hitShare", number> {
  const queues = Array.from({ length: unit.ranks }, (): Prefill[] => []);
  const held = queues.map(() => new Set<number>());
  const evenness = new Evenness<ReturnType<typeof outstanding> & { work: number }>();
  const workOf = ({ tokens, attentionPairs }: PrefillLoad) =>
    tokens * costs.perToken + attentionPairs * costs.perAttentionPair;
  let hitTokens = 0;
  let promptTokens = 0;
  for (const [index, request] of trace.entries()) {
    const full = index >= unit.ranks * unit.requestsPerRank;
    while (count(queues) >= unit.ranks * unit.requestsPerRank) finishOnePrefill(queues);
    const cachedTokens = held.map((blocks) => cachedPrefix(request, blocks));
    const rank = choose(request, { index, loads: queues.map(outstanding), cachedTokens });
    const load = prefillLoad(request.promptTokens, cachedTokens[rank]);
    queues[rank].push({ load, cost: workOf(load), costLeft: workOf(load) });
    for (const block of request.blocks) held[rank].add(block);
    hitTokens += cachedTokens[rank];
    promptTokens += request.promptTokens;
    if (!full) continue;
    evenness.sample(queues.map(outstanding).map((left) => ({ ...left, work: workOf(left) })));
  }
  return {
    attention: evenness.maxOverMean("attentionPairs"),
    longestPrompt: evenness.maxOverMean("longestPrompt", "attentionPairs"),
    work: evenness.maxOverMean("work"),
    tokens: evenness.maxOverMean("tokens"),
    requests: evenness.maxOverMean("requests"),
    hitShare: hitTokens / promptTokens,
  };
}

/** Lets every rank work until the first one ends a request. */
function finishOnePrefill(queues: Prefill[][]): void {
  const heads = queues.filter((queue) => queue.length > 0).map((queue) => queue[0]);
  const seconds = Math.min(...heads.map((head) => head.costLeft));
  for (const head of heads) head.costLeft -= seconds;
  for (const queue of queues) if (queue[0]?.costLeft === 0) queue.shift();
}

/** With `longestPrompt`, the attention left of the request that has most. */
function outstanding(
  queue: readonly Prefill[],
): PrefillLoad & { requests: number; longestPrompt: number } {
  const load = { tokens: 0, attentionPairs: 0, requests: queue.length, longestPrompt: 0 };
  for (const prefill of queue) {
    const left = prefill.costLeft / prefill.cost;
    const attentionPairs = prefill.load.attentionPairs * left;
    load.tokens += prefill.load.tokens * left;
    load.attentionPairs += attentionPairs;
    load.longestPrompt = Math.max(load.longestPrompt, attentionPairs);
  }
  return load;
}

/** Whole blocks, and never the whole prompt. */
function cachedPrefix({ blocks, promptTokens }: TraceRequest, held: ReadonlySet<number>): number {
  const missing = blocks.findIndex((block) => !held.has(block));
  const matching = missing < 0 ? blocks.length : missing;
  return BLOCK_TOKENS * Math.min(matching, Math.floor((promptTokens - 1) / BLOCK_TOKENS));
}

interface Decode {
  readonly promptTokens: number;
  readonly startStep: number;
  readonly endStep: number;
}

/** Every request gains a token in each of the unit's steps. */
export function replayDecode(
  trace: readonly TraceRequest[],
  unit: Unit,
  choose: (request: TraceRequest, turn: Turn<Pick<DecodeRank, "kvTokens">>) => number,
): Record<"kv" | "requests", number> {
  const running = Array.from({ length: unit.ranks }, (): Decode[] => []);
  const evenness = new Evenness<{ kvTokens: number; requests: number }>();
  let step = 0;
  const loadOf = (decodes: readonly Decode[]) => ({
    requests: decodes.length,
    kvTokens: decodes.reduce((sum, of) => sum + of.promptTokens + step - of.startStep, 0),
  });
  for (const [index, request] of trace.entries()) {
    const full = index >= unit.ranks * unit.requestsPerRank;
    if (full && count(running) >= unit.ranks * unit.requestsPerRank) {
      step = Math.min(...running.flat().map((decode) => decode.endStep));
      for (const [rank, decodes] of running.entries()) {
        running[rank] = decodes.filter((decode) => decode.endStep > step);
      }
    }
    const rank = choose(request, { index, loads: running.map(loadOf), cachedTokens: [] });
    running[rank].push({
      promptTokens: request.promptTokens,
      startStep: step,
      endStep: step + Math.max(1, request.outputTokens),
    });
    if (full) evenness.sample(running.map(loadOf));
  }
  return { kv: evenness.maxOverMean("kvTokens"), requests: evenness.maxOverMean("requests") };
}

function count(lists: readonly (readonly unknown[])[]): number {
  return lists.reduce((sum, list) => sum + list.length, 0);
}

export function figures(of: Readonly<Record<string, number>>): string {
  return Object.entries(of)
    .map(([name, value]) => `${name} ${value.toFixed(2)}`)
    .join(", ");
}
