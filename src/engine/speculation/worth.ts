/** A sequence's proposals: how many there are, and how likely each stands if those before it do. */
export interface Offer {
  readonly proposed: number;
  readonly chance: number;
}

/** Gains below are within what a step's time varies by. */
const LEAST_GAIN = 1.03;
/** Proposals less likely to stand are not considered. */
const LEAST_CHANCE = 0.05;

/**
 * How many proposals of each sequence are worth their rows: as many as make most tokens a
 * millisecond, `cost(rows)` being a step's milliseconds. Each sequence has one row without any.
 */
export function worthwhile(
  offers: readonly Offer[],
  mostRows: number,
  cost: (rows: number) => number,
): number[] {
  const counts = offers.map(() => 0);
  const likeliestFirst = offers
    .flatMap(({ proposed, chance }, sequence) => chancesOf(proposed, chance, sequence))
    .sort((a, b) => b.stands - a.stands)
    .slice(0, Math.max(0, mostRows - offers.length));
  const plain = offers.length / cost(offers.length);
  let best = plain * LEAST_GAIN;
  let taken = 0;
  let tokens = offers.length;
  likeliestFirst.forEach(({ stands }, i) => {
    tokens += stands;
    const rate = tokens / cost(offers.length + i + 1);
    if (rate > best) [best, taken] = [rate, i + 1];
  });
  for (const { sequence } of likeliestFirst.slice(0, taken)) counts[sequence]++;
  return counts;
}

/** That a sequence's first, second, … proposal stands. */
function chancesOf(proposed: number, chance: number, sequence: number) {
  const chances: { sequence: number; stands: number }[] = [];
  for (let i = 0, stands = chance; i < proposed && stands >= LEAST_CHANCE; i++, stands *= chance) {
    chances.push({ sequence, stands });
  }
  return chances;
}
