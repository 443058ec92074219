/** A sequence's proposals: how many there are, and how likely each stands if those before it do. */
export interface Offer {
  readonly proposed: number;
  readonly chance: number;
  /** Whether each is drafted first, in a pass after the one before it. */
  readonly drafted: boolean;
}

/** Proposals less likely to stand are not considered. */
const LEAST_CHANCE = 0.1;

/** What a way to take proposals would make. */
export interface Worth {
  /** Of each sequence's proposals. */
  readonly counts: readonly number[];
  /** Tokens a millisecond; none where there is no such way. */
  readonly rate: number;
}

/** What a step takes, in milliseconds. */
export interface Cost {
  /** By its rows. */
  readonly of: (rows: number) => number;
  /** Of each pass that drafts, for all sequences, before it. */
  readonly pass: number;
}

/**
 * Of the ways to take any proposals the one that makes most tokens a millisecond. Each sequence has one row
 * without any proposal.
 */
export function worthwhile(offers: readonly Offer[], mostRows: number, cost: Cost): Worth {
  const own = offers.length;
  const candidates = offers.flatMap(chancesOf).sort((a, b) => b.stands - a.stands);
  const counts = offers.map(() => 0);
  let [rate, passes, taken] = [0, 0, 0];
  if (candidates.length === 0) return { counts, rate };
  const mostPasses = candidates.reduce((most, each) => Math.max(most, each.passes), 0);
  const mostTokens = candidates.reduce((sum, { stands }) => sum + stands, own);
  const least = cost.of(own);
  for (let more = 0; more <= mostPasses; more++) {
    const before = more * cost.pass;
    if (mostTokens <= rate * (least + before)) break;
    let [tokens, rows] = [own, own];
    for (const each of candidates) {
      if (each.passes > more) continue;
      if (rows >= mostRows) break;
      tokens += each.stands;
      const made = tokens / (cost.of(++rows) + before);
      if (made > rate) [rate, passes, taken] = [made, more, rows - own];
    }
  }
  for (const each of candidates) {
    if (each.passes <= passes && taken-- > 0) counts[each.sequence]++;
  }
  return { counts, rate };
}

interface Candidate {
  readonly sequence: number;
  readonly stands: number;
  /** That draft it. */
  readonly passes: number;
}

/** That a sequence's first, second, … proposal stands. */
function chancesOf({ proposed, chance, drafted }: Offer, sequence: number): Candidate[] {
  const chances: Candidate[] = [];
  let stands = chance;
  for (let depth = 1; depth <= proposed && stands >= LEAST_CHANCE; depth++, stands *= chance) {
    chances.push({ sequence, stands, passes: drafted ? depth : 0 });
  }
  return chances;
}
