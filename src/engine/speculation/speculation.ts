import { PassCost } from "./pass-cost.ts";
import type { Proposal } from "./proposal.ts";
import { StepCost } from "./step-cost.ts";
import { worthwhile, type Offer } from "./worth.ts";

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
/** Tokens drafted for a sequence, one after the other. */
const MOST_DRAFTED = 8;
/** Weight of what earlier guesses came to, when another is known. */
const MEMORY = 0.9;
/** The same of drafts, which cost more when they are taken for likelier than they are; the first count more. */
const DRAFT_MEMORY = 0.95;
const FIRST_DRAFT_MEMORY = 0.75;
/** Chance of a sequence of which nothing is known. */
const FIRST_CHANCE = 0.5;
/** Enough that drafts are tried. */
const FIRST_DRAFT_CHANCE = 0.8;
/** One step in so many does the opposite of what seems best, to learn whether that still holds. */
const DOUBTED = 64;
/** Guesses less likely to be right are not worth the doubt. */
const LEAST_DOUBTED = 0.3;
/** Of drafts nothing is known unless they are made, which is tried once in so many steps. */
const DRAFTS_DOUBTED = 4 * DOUBTED;

interface Guess {
  readonly proposer: Proposer;
  /** What is guessed to follow the sequence's tokens. */
  tokens: readonly number[];
  /** That a guess is right where those before it are. */
  chance: number;
  /** That a draft is. */
  draftChance: number;
  /** Of the draft's chance; rises. */
  draftMemory: number;
}

/**
 * Decides how many tokens are computed along with each sequence's last. Where its context has stood
 * before, they are guessed; all guesses are compared with what comes to be chosen, computed or not, so
 * their chances are known without cost. Elsewhere, and where guesses are less likely, the MTP layer
 * drafts them, if there is one. What rows and drafts cost is measured; `worthwhile` then weighs the one
 * against the other.
 */
export class Speculation<Sequence extends Speculated> {
  readonly #guesses = new WeakMap<Sequence, Guess>();
  readonly #cost = new StepCost();
  readonly #passCost = new PassCost();
  readonly #createProposer: (sequence: Sequence) => Proposer;
  readonly #now: () => number;
  readonly #drafts: boolean;
  #steps = 0;
  /** When the step began, if it only decodes. */
  #began: number | undefined;

  /** `now`: milliseconds. */
  constructor(
    createProposer: (sequence: Sequence) => Proposer,
    now: () => number,
    { drafts = false }: { readonly drafts?: boolean } = {},
  ) {
    this.#createProposer = createProposer;
    this.#now = now;
    this.#drafts = drafts;
  }

  /**
   * Begins a step that only decodes: for each of its sequences, tokens to compute or to draft, up to
   * `rows` in all.
   */
  propose(sequences: readonly Sequence[], rows: number): Proposal[] {
    this.#began = this.#now();
    const guesses = sequences.map((sequence) => this.#guess(sequence));
    const guessed = guesses.map(guessedOffer);
    const mixed = guesses.map((guess) => this.#likelierOffer(guess));
    const mostRows = Math.min(sequences.length + rows, this.#cost.reach);
    const pass = this.#passCost.of(mixed.filter(({ drafted }) => drafted).length);
    const cost = (count: number, passes: number) => this.#cost.of(count) + passes * pass;
    const [best] = [guessed, mixed]
      .map((offers) => ({ offers, ...worthwhile(offers, mostRows, cost) }))
      .sort((one, other) => other.rate - one.rate);
    const doubts = ++this.#steps % DOUBTED === 0 && rows > 0;
    const doubted = this.#steps % DRAFTS_DOUBTED === 0 ? mixed : guessed;
    const { offers, counts } = doubts ? opposite(best.counts, doubted) : best;
    return guesses.map(({ tokens }, i) =>
      offers[i].drafted ? counts[i] : tokens.slice(0, counts[i]),
    );
  }

  /** A pass has drafted a token for each of so many sequences. */
  endPass(sequences: number): void {
    const now = this.#now();
    if (this.#began !== undefined) this.#passCost.measure(sequences, now - this.#began);
    this.#began = now;
  }

  /** A step has ended that computed so many rows; none where it failed. */
  endStep(rows: number): void {
    const elapsed = this.#began === undefined ? undefined : this.#now() - this.#began;
    if (elapsed !== undefined && rows > 0) this.#cost.measure(rows, elapsed);
    this.#began = undefined;
  }

  /** Tokens that a step chose for a sequence, in order, and those that were drafted for it. */
  learn(sequence: Sequence, chosen: readonly number[], drafted: readonly number[]): void {
    const guess = this.#guesses.get(sequence);
    if (!guess) return;
    guess.chance = chanceAfter(guess.chance, guess.tokens, chosen, MEMORY);
    guess.draftChance = chanceAfter(guess.draftChance, drafted, chosen, guess.draftMemory);
    if (drafted.length > 0) {
      guess.draftMemory += (DRAFT_MEMORY - guess.draftMemory) * (1 - FIRST_DRAFT_MEMORY);
    }
    guess.tokens = [];
  }

  #guess(sequence: Sequence): Guess {
    let guess = this.#guesses.get(sequence);
    if (!guess) {
      const proposer = this.#createProposer(sequence);
      const drafts = { draftChance: FIRST_DRAFT_CHANCE, draftMemory: FIRST_DRAFT_MEMORY };
      guess = { proposer, tokens: [], chance: FIRST_CHANCE, ...drafts };
      this.#guesses.set(sequence, guess);
    }
    guess.tokens = guess.proposer.propose(sequence.tokens, MOST_GUESSED);
    return guess;
  }

  /** A sequence's guesses, or drafts where they are likelier. */
  #likelierOffer(guess: Guess): Offer {
    const { tokens, chance, draftChance } = guess;
    const isGuessed = tokens.length > 0 && chance >= draftChance;
    if (!this.#drafts || isGuessed) return guessedOffer(guess);
    const proposed = this.#passCost.isKnown ? MOST_DRAFTED : 1;
    return { proposed, chance: draftChance, drafted: true };
  }
}

const guessedOffer = ({ tokens, chance }: Guess): Offer => ({
  ...{ proposed: tokens.length, chance, drafted: false },
});

/** The chance that a token is right, given what became of those proposed. */
function chanceAfter(
  chance: number,
  proposed: readonly number[],
  chosen: readonly number[],
  memory: number,
): number {
  for (const [i, token] of proposed.slice(0, chosen.length).entries()) {
    const isRight = token === chosen[i];
    chance = memory * chance + (isRight ? 1 - memory : 0);
    if (!isRight) break;
  }
  return chance;
}

/** Proposes nothing where something seemed best, else one token of the likeliest offer. */
function opposite(best: readonly number[], offers: readonly Offer[]) {
  const counts = offers.map(() => 0);
  const [likeliest] = offers
    .map((offer, i) => ({ ...offer, i }))
    .filter(({ proposed, chance, drafted }) => proposed > 0 && (drafted || chance >= LEAST_DOUBTED))
    .sort((a, b) => b.chance - a.chance);
  if (likeliest && best.every((count) => count === 0)) counts[likeliest.i] = 1;
  return { offers, counts };
}
