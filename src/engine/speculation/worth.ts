/** A sequence's proposals: how many there are, and how likely each stands if those before it do. */
export interface Offer {
  readonly proposed: number;
  readonly chance: number;
  /** Whether each is drafted first, in a pass after the one before it. */
  readonly drafted: boolean;
}

/** Gains below are within what a step's time varies by. */
const LEAST_GAIN = 1.03;
/** Proposals less likely to stand are not considered. */
const LEAST_CHANCE = 0.05;

/**
 * How many proposals of each sequence are worth their rows: as many as make most tokens a
 * millisecond, `cost` being the milliseconds of a step of so many rows behind so many passes that draft,
 * each for all sequences. Each sequence has one row without any proposal.
 */
export function worthwhile(
  offers: readonly Offer[],
  mostRows: number,
  cost: (rows: number, passes: number) => number,
): Worth {
  const candidates = offers.flatMap(chancesOf).sort((a, b) => b.stands - a.stands);
  const mostPasses = Math.max(0, ...candidates.map((each) => each.passes));
  const plain = offers.length / cost(offers.length, 0);
  let best = plain * LEAST_GAIN;
  let taken: readonly Candidate[] = [];
  for (let passes = 0; passes <= mostPasses; passes++) {
    const likeliestFirst = candidates
      .filter((each) => each.passes <= passes)
      .slice(0, Math.max(0, mostRows - offers.length));
    let tokens = offers.length;
    likeliestFirst.forEach(({ stands }, i) => {
      tokens += stands;
      const rate = tokens / cost(offers.length + i + 1, passes);
      if (rate > best) [best, taken] = [rate, likeliestFirst.slice(0, i + 1)];
    });
  }
  const counts = offers.map(() => 0);
  for (const { sequence } of taken) counts[sequence]++;
  return { counts, rate: taken.length > 0 ? best : plain };
}

export interface Worth {
  /** By sequence. */
  readonly counts: number[];
  /** Tokens a millisecond. */
  readonly rate: number;
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
