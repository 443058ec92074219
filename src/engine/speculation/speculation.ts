import { StepCost } from "./step-cost.ts";
import { worthwhile } from "./worth.ts";

/** Guesses what follows a sequence's tokens; one of each sequence, which sees its tokens grow. */
export interface Proposer {
  propose(tokens: Uint32Array, most: number): readonly number[];
}

/** What speculation sees of a sequence whose next token a step chooses. */
export interface Speculated {
  readonly tokens: Uint32Array;
}

/** Tokens guessed for a sequence, most of which it may be. */
const MOST_GUESSED = 15;
/** Weight of what earlier guesses came to, when another is known. */
const MEMORY = 0.9;
/** Chance of a sequence of which nothing is known. */
const FIRST_CHANCE = 0.5;
/** One step in so many does the opposite of what seems best, to learn whether that still holds. */
const DOUBTED = 64;
/** Guesses less likely to be right are not worth the doubt. */
const LEAST_DOUBTED = 0.3;

interface Guess {
  readonly proposer: Proposer;
  /** What is guessed to follow the sequence's tokens. */
  tokens: readonly number[];
  /** That a guess is right where those before it are. */
  chance: number;
}

/**
 * Decides how many guessed tokens are computed along with each sequence's last. All guesses are
 * compared with what comes to be chosen, computed or not, so their chances are known without cost;
 * what rows cost is measured. `worthwhile` then weighs the one against the other.
 */
export class Speculation<Sequence extends Speculated> {
  readonly #guesses = new WeakMap<Sequence, Guess>();
  readonly #cost = new StepCost();
  readonly #createProposer: (sequence: Sequence) => Proposer;
  readonly #now: () => number;
  #steps = 0;
  /** When the step began, if it only decodes. */
  #began: number | undefined;

  /** `now`: milliseconds. */
  constructor(createProposer: (sequence: Sequence) => Proposer, now: () => number) {
    this.#createProposer = createProposer;
    this.#now = now;
  }

  /**
   * Begins a step that only decodes: for each of its sequences, guessed tokens to compute, up to
   * `rows` in all.
   */
  propose(sequences: readonly Sequence[], rows: number): (readonly number[])[] {
    this.#began = this.#now();
    const guesses = sequences.map((sequence) => this.#guess(sequence));
    const offers = guesses.map(({ tokens, chance }) => ({ proposed: tokens.length, chance }));
    const mostRows = Math.min(sequences.length + rows, this.#cost.reach);
    const counts = worthwhile(offers, mostRows, (count) => this.#cost.of(count));
    if (++this.#steps % DOUBTED === 0) doubt(counts, guesses, rows);
    return guesses.map(({ tokens }, i) => tokens.slice(0, counts[i]));
  }

  /** A step has ended that computed so many rows; none where it failed. */
  endStep(rows: number): void {
    const elapsed = this.#began === undefined ? undefined : this.#now() - this.#began;
    if (elapsed !== undefined && rows > 0) this.#cost.measure(rows, elapsed);
    this.#began = undefined;
  }

  /** Tokens that a step chose for a sequence, in order. */
  learn(sequence: Sequence, chosen: readonly number[]): void {
    const guess = this.#guesses.get(sequence);
    if (!guess) return;
    for (const [i, token] of guess.tokens.slice(0, chosen.length).entries()) {
      const isRight = token === chosen[i];
      guess.chance = MEMORY * guess.chance + (isRight ? 1 - MEMORY : 0);
      if (!isRight) break;
    }
    guess.tokens = [];
  }

  #guess(sequence: Sequence): Guess {
    let guess = this.#guesses.get(sequence);
    if (!guess) {
      guess = { proposer: this.#createProposer(sequence), tokens: [], chance: FIRST_CHANCE };
      this.#guesses.set(sequence, guess);
    }
    guess.tokens = guess.proposer.propose(sequence.tokens, MOST_GUESSED);
    return guess;
  }
}

/** Proposes nothing where something seemed best, else one token of the likeliest guess. */
function doubt(counts: number[], guesses: readonly Guess[], rows: number): void {
  if (counts.some((count) => count > 0)) {
    counts.fill(0);
    return;
  }
  const guessed = guesses.filter(({ tokens }) => tokens.length > 0);
  const chance = Math.max(0, ...guessed.map((guess) => guess.chance));
  if (rows === 0 || chance < LEAST_DOUBTED) return;
  counts[guesses.findIndex((guess) => guess.tokens.length > 0 && guess.chance === chance)] = 1;
}
