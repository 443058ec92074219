/**
 * The decode balancer: equal KV use and equal request counts on every rank of a unit, the
 * objectives that DeepSeek published without an algorithm (open-infra-index, day 6). KV use stands
 * for core attention, the request count for what the rank dispatches in each step.
 */

/** What a rank holds, and how much it can hold. */
export interface DecodeRank {
  readonly kvTokens: number;
  readonly requests: number;
  readonly kvCapacity: number;
  readonly requestCapacity: number;
}

/**
 * The rank for a request that brings `kvTokens` of KV, or undefined when none has room. With the
 * request, a rank would hold some share of the unit's KV and some share of its requests; the one
 * whose larger share is smallest gets it, among equals the one with less KV, then the first. A long
 * context so goes where there is little KV, and a short one where there are few requests.
 * @param kvTokens in the unit of the ranks; with room for what it will generate, if that should
 *   be kept free
 * @throws RangeError when `kvTokens` is negative or not a number
 */
export function chooseDecodeRank(
  kvTokens: number,
  ranks: readonly DecodeRank[],
): number | undefined {
  if (!(kvTokens >= 0)) {
    throw new RangeError(`kvTokens: expected a number of at least 0, got ${kvTokens}`);
  }
  const unit = { kvTokens, requests: 1 };
  for (const rank of ranks) {
    unit.kvTokens += rank.kvTokens;
    unit.requests += rank.requests;
  }
  let best: { rank: number; largerShare: number; kvTokens: number } | undefined;
  for (const [i, rank] of ranks.entries()) {
    if (!hasRoom(rank, kvTokens)) continue;
    const kvShare = unit.kvTokens === 0 ? 0 : (rank.kvTokens + kvTokens) / unit.kvTokens;
    const largerShare = Math.max(kvShare, (rank.requests + 1) / unit.requests);
    const better =
      best === undefined ||
      largerShare < best.largerShare ||
      (largerShare === best.largerShare && rank.kvTokens < best.kvTokens);
    if (better) best = { rank: i, largerShare, kvTokens: rank.kvTokens };
  }
  return best?.rank;
}

/** Tokens that an answer is expected to have before any has ended. */
export const firstAnswerEstimate = 256;
/** Answers over which the estimate is an exponential mean. */
const ANSWERS = 32;

/** The tokens that an answer is expected to have, once one more has ended. */
export function answerEstimate(before: number, answerTokens: number): number {
  return before + (answerTokens - before) / ANSWERS;
}

function hasRoom(rank: DecodeRank, kvTokens: number): boolean {
  return rank.requests + 1 <= rank.requestCapacity && rank.kvTokens + kvTokens <= rank.kvCapacity;
}
