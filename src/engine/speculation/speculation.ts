import { Chance, Trust } from "./chance.ts";
import { Pace } from "./pace.ts";
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
/** Guesses that a chance is made of, and drafts, which cost more when they are taken for likelier than they are. */
const MEMORY = 10;
const DRAFT_MEMORY = 40;
/** Chance of a sequence of which nothing is known. */
const FIRST_CHANCE = 0.5;
/** Of drafts, as DeepSeek-V3's come to (section 5.4.3), so that they are tried. */
const FIRST_DRAFT_CHANCE = 0.9;
/** Gains below are within what is not known of times and chances. */
const LEAST_GAIN = 1.05;
/** Of the time, what may be lost by doing what seems worse, to learn whether it is. */
const TRIALS_SHARE = 1 / 100;
/** What a trial is taken to lose of a step: what seems to lose more may do so by mistake. */
const LEAST_LOSS = 0.08;
const MOST_LOSS = 0.4;
/** Steps for which nothing is looked up where nothing comes near: looking takes time too. */
const RESTED = 3;

interface Guess {
  readonly proposer: Proposer;
  /** What is guessed to follow the sequence's tokens. */
  tokens: readonly number[];
  readonly chance: Chance;
  readonly draftChance: Chance;
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
  readonly #passCost = new StepCost();
  readonly #pace = new Pace();
  /** In guesses, and in drafts. */
  readonly #trust = new Trust();
  readonly #draftTrust = new Trust();
  readonly #createProposer: (sequence: Sequence) => Proposer;
  readonly #now: () => number;
  readonly #drafts: boolean;
  /** Of a step's time. */
  #mayLose = 0;
  /** Steps in which it does not look. */
  #rests = 0;
  /** When the step began, if it only decodes. */
  #began: number | undefined;
  /** Its passes, the sequences of the first, and when the last ended. */
  #passes = { count: 0, sequences: 0, ended: 0 };

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
    this.#passes = { count: 0, sequences: 0, ended: this.#began };
    if (this.#rests-- > 0) return sequences.map(() => []);
    const guesses = sequences.map((sequence) => this.#guess(sequence));
    const { offers, counts } = this.#chooseFrom(guesses, rows);
    return guesses.map(({ tokens }, i) =>
      offers[i].drafted ? counts[i] : tokens.slice(0, counts[i]),
    );
  }

  /** A pass has drafted a token for each of so many sequences; for none, what was to be done before. */
  endPass(sequences: number): void {
    const { count, sequences: first } = this.#passes;
    const ended = this.#now();
    if (sequences === 0) this.#began = ended;
    const passes = sequences === 0 ? 0 : count + 1;
    this.#passes = { count: passes, sequences: first || sequences, ended };
  }

  /** A step has ended that computed so many rows; none where it failed. */
  endStep(rows: number): void {
    if (this.#began !== undefined && rows > 0) {
      const { count, sequences, ended } = this.#passes;
      const elapsed = this.#now() - ended;
      if (this.#cost.knows(rows)) this.#pace.measure(elapsed / this.#cost.of(rows));
      this.#cost.measure(rows, this.#pace.evened(elapsed));
      const drafting = this.#pace.evened(ended - this.#began);
      if (count > 0) this.#passCost.measure(sequences, drafting / count);
    }
    this.#began = undefined;
  }

  /** Tokens that a step chose for a sequence, in order, and those that it computed to follow its last. */
  learn(
    sequence: Sequence,
    chosen: readonly number[],
    proposed: readonly number[],
    drafted: boolean,
  ): void {
    const guess = this.#guesses.get(sequence);
    if (!guess) return;
    const { chance, draftChance } = guess;
    const [trust, acted] = drafted ? [this.#draftTrust, draftChance] : [this.#trust, chance];
    trust.learn(acted.value, proposed.length, chosen.length - 1);
    chance.learn(guess.tokens, chosen);
    if (drafted) draftChance.learn(proposed, chosen);
    guess.tokens = [];
  }

  #guess(sequence: Sequence): Guess {
    let guess = this.#guesses.get(sequence);
    if (!guess) {
      const proposer = this.#createProposer(sequence);
      const chance = new Chance(FIRST_CHANCE, MEMORY);
      const draftChance = new Chance(FIRST_DRAFT_CHANCE, DRAFT_MEMORY);
      guess = { proposer, tokens: [], chance, draftChance };
      this.#guesses.set(sequence, guess);
    }
    guess.tokens = guess.proposer.propose(sequence.tokens, MOST_GUESSED);
    return guess;
  }

  /** How many of which proposals a step computes. */
  #chooseFrom(guesses: readonly Guess[], rows: number): Choice {
    const guessed = guesses.map((guess) => this.#guessedOffer(guess));
    const isPassKnown = this.#passCost.isKnown;
    const mostDrafted = !this.#drafts ? 0 : isPassKnown ? MOST_DRAFTED : 1;
    const mixed = guesses.map((guess, i) => this.#likelierOffer(guess, guessed[i], mostDrafted));
    const drafting = mixed.filter(({ drafted }) => drafted).length;
    // As long as too little is known, one pass is made, and hoped to cost nothing.
    const pass = isPassKnown ? this.#passCost.of(Math.max(1, drafting)) : 0;
    const cost = { of: (count: number) => this.#cost.of(count), pass };
    const mostRows = Math.min(guesses.length + rows, this.#cost.reach);
    const weigh = (offers: readonly Offer[]) => ({ offers, ...worthwhile(offers, mostRows, cost) });
    const onlyGuessed = weigh(guessed);
    const withDrafts = drafting > 0 ? weigh(mixed) : onlyGuessed;
    const most = withDrafts.rate > onlyGuessed.rate ? withDrafts : onlyGuessed;
    const plainRate = guesses.length / cost.of(guesses.length);
    const isBetter = most.rate > LEAST_GAIN * plainRate;
    this.#rests = most.rate < plainRate ? RESTED : 0;
    return isBetter !== this.#tries(plainRate, most.rate) ? most : nothing(guessed);
  }

  /** Whether this step does what seems worse: as long as that loses little of the time. */
  #tries(one: number, other: number): boolean {
    if (other === 0) return false;
    this.#mayLose += TRIALS_SHARE;
    const loss = 1 - Math.min(one, other) / Math.max(one, other);
    if (this.#mayLose < Math.min(MOST_LOSS, Math.max(LEAST_LOSS, loss))) return false;
    this.#mayLose = 0;
    return true;
  }

  #guessedOffer({ tokens, chance }: Guess): Offer {
    const believed = chance.value * this.#trust.value;
    return { proposed: tokens.length, chance: believed, drafted: false };
  }

  /** A sequence's guesses, or drafts where they are likelier. */
  #likelierOffer({ draftChance }: Guess, guessed: Offer, proposed: number): Offer {
    const chance = draftChance.value * this.#draftTrust.value;
    const isGuessed = guessed.proposed > 0 && guessed.chance >= chance;
    return isGuessed || proposed === 0 ? guessed : { proposed, chance, drafted: true };
  }
}

interface Choice {
  readonly offers: readonly Offer[];
  /** Of each offer's proposals. */
  readonly counts: readonly number[];
}

const nothing = (offers: readonly Offer[]): Choice => ({ offers, counts: offers.map(() => 0) });
