/**
 * The prefill balancer: equal core-attention work and equal input tokens on every rank of a unit,
 * the objectives that DeepSeek published without an algorithm (open-infra-index, day 6).
 */

/** Work that a rank has not done yet. */
export interface PrefillLoad {
  /** Input tokens to compute, which is also what the rank will dispatch. */
  readonly tokens: number;
  /** (query, key) pairs of core attention. */
  readonly attentionPairs: number;
}

export interface PrefillRequest {
  readonly promptTokens: number;
  /** [ranks]: leading tokens of the prompt whose KV each rank holds; less than the prompt. */
  readonly cachedTokens: readonly number[];
}

/** In one unit of the caller's choice, such as seconds or floating-point operations. */
export interface PrefillCosts {
  /** Everything that grows with the tokens alone: projections, experts, dispatch. */
  readonly perToken: number;
  readonly perAttentionPair: number;
}

/** What is left to compute of a prompt whose first tokens are cached; each attends to all before. */
export function prefillLoad(promptTokens: number, cachedTokens: number): PrefillLoad {
  const pairsUpTo = (tokens: number) => (tokens * (tokens + 1)) / 2;
  return {
    tokens: promptTokens - cachedTokens,
    attentionPairs: pairsUpTo(promptTokens) - pairsUpTo(cachedTokens),
  };
}

/**
 * The rank for one request. In every layer the unit waits for the rank with the most attention, at
 * dispatch, and then for the one with the most tokens; the request goes where the sum of the two
 * waits grows least, among equals where the rank's own work ends first, then to the first. So a
 * rank that holds the request's prefix gets it when that saves more than it unbalances.
 * @param loads [ranks]: outstanding work
 * @throws RangeError when there is no rank, or the cached tokens do not fit ranks and prompt
 */
export function choosePrefillRank(
  request: PrefillRequest,
  loads: readonly PrefillLoad[],
  costs: PrefillCosts,
): number {
  assertRequest(request, loads.length);
  const busiest = {
    tokens: Math.max(...loads.map((load) => load.tokens)),
    attentionPairs: Math.max(...loads.map((load) => load.attentionPairs)),
  };
  let best = { rank: 0, unitWork: Infinity, rankWork: Infinity };
  for (const [rank, load] of loads.entries()) {
    const after = sum(load, prefillLoad(request.promptTokens, request.cachedTokens[rank]));
    const unitWork = workOf(larger(busiest, after), costs);
    const rankWork = workOf(after, costs);
    if (unitWork > best.unitWork) continue;
    if (unitWork < best.unitWork || rankWork < best.rankWork) best = { rank, unitWork, rankWork };
  }
  return best.rank;
}

function workOf(load: PrefillLoad, costs: PrefillCosts): number {
  return load.tokens * costs.perToken + load.attentionPairs * costs.perAttentionPair;
}

function sum(a: PrefillLoad, b: PrefillLoad): PrefillLoad {
  return {
    tokens: a.tokens + b.tokens,
    attentionPairs: a.attentionPairs + b.attentionPairs,
  };
}

function larger(a: PrefillLoad, b: PrefillLoad): PrefillLoad {
  return {
    tokens: Math.max(a.tokens, b.tokens),
    attentionPairs: Math.max(a.attentionPairs, b.attentionPairs),
  };
}

function assertRequest({ promptTokens, cachedTokens }: PrefillRequest, ranks: number): void {
  if (ranks === 0) throw new RangeError("loads: expected one or more ranks, got none");
  if (cachedTokens.length !== ranks) {
    throw new RangeError(`cachedTokens: expected ${ranks} ranks, got ${cachedTokens.length}`);
  }
  const bad = cachedTokens.findIndex((tokens) => !(tokens >= 0 && tokens < promptTokens));
  if (bad < 0) return;
  throw new RangeError(
    `cachedTokens: rank ${bad}: expected at least 0 and less than the prompt's ${promptTokens}, ` +
      `got ${cachedTokens[bad]}`,
  );
}
