import type { MaskSource, MaskStep } from "../../engine/index.ts";
import { allows, onlyToken, type TokenMask } from "../../kernels/index.ts";
import type { GrammarSource, Place } from "../../model/index.ts";
import type { GrammarTable } from "./grammar-table.ts";

/** What an answer begins with before it is constrained. */
export interface Thinking {
  /** The prompt has left thoughts open. */
  readonly startsInReasoning: boolean;
  /** The answer may begin with thoughts. */
  readonly mayThink: boolean;
}

/** What may come in one answer. */
export interface Constraint extends MaskSource {
  /** What may come first. */
  readonly first: TokenMask;
}

/** Tokens that are looked ahead. */
const MOST_AHEAD = 16;

type Mask = TokenMask | undefined;

/** Where an answer is after some tokens, and in which grammar. */
export interface Opened {
  readonly table: GrammarTable;
  readonly start: Place;
  readonly place: Place;
}

/** Answers questions that a grammar's table cannot. */
export interface Follower {
  open(source: GrammarSource, tokens: readonly number[]): Promise<Opened>;
  /** Tells the table. Undefined: the grammar is forgotten, and has to be opened again. */
  follow(table: GrammarTable, state: number, token: number): Promise<Place | undefined>;
}

/** Masks around an answer that thinks first. */
export interface Thoughts extends Thinking {
  readonly beginToken: number | undefined;
  readonly endToken: number | undefined;
  /** While it thinks. */
  readonly mask: TokenMask;
}

type Phase = "beginning" | "thinking" | "answer";

/** Where an answer is, and in its grammar if its thoughts are over. */
interface Spot {
  readonly phase: Phase;
  readonly place: Place;
}

/** One answer on its way through its grammar, behind thoughts that are free. */
export class FollowedAnswer implements Constraint {
  readonly first: TokenMask;
  readonly #source: GrammarSource;
  readonly #follower: Follower;
  readonly #thoughts: Thoughts;
  readonly #endTokens: readonly number[];
  #table: GrammarTable;
  #spot: Spot;
  /** Of the answer, without thoughts. */
  readonly #tokens: number[] = [];
  /** Where its last token leads is not known yet. */
  #asking: Promise<Mask> | undefined;

  constructor(
    source: GrammarSource,
    { table, start }: Opened,
    first: TokenMask,
    thoughts: Thoughts,
    { follower, endTokens }: { readonly follower: Follower; readonly endTokens: readonly number[] },
  ) {
    this.#source = source;
    this.#follower = follower;
    this.#thoughts = thoughts;
    this.#endTokens = endTokens;
    this.#table = table;
    this.#spot = { phase: phaseOf(thoughts), place: start };
    this.first = first;
  }

  next(token: number): Mask | Promise<Mask> {
    const before = this.#asking;
    const mask = before ? before.then(() => this.#step(token)) : this.#step(token);
    if (!(mask instanceof Promise)) return mask;
    this.#asking = mask;
    const known = () => {
      if (this.#asking === mask) this.#asking = undefined;
    };
    mask.then(known, known);
    return mask;
  }

  ahead(guessed: readonly number[]): MaskStep[] {
    const steps: MaskStep[] = [];
    let spot: Spot | undefined = this.#asking ? undefined : this.#spot;
    let guesses = guessed;
    while (spot && steps.length < MOST_AHEAD) {
      const mask = this.#maskAt(spot);
      const guess = guesses[steps.length];
      const token = onlyToken(mask) ?? guess;
      if (token === undefined || !allows(mask, token) || this.#endTokens.includes(token)) break;
      if (token !== guess) guesses = [];
      spot = this.#after(spot, token);
      if (spot) steps.push({ token, mask: this.#maskAt(spot) });
    }
    return steps;
  }

  #step(token: number): Mask | Promise<Mask> {
    if (this.#endTokens.includes(token)) return undefined;
    const known = this.#after(this.#spot, token);
    if (this.#isText(this.#spot, token)) this.#tokens.push(token);
    return known ? this.#goTo(known) : this.#ask(token);
  }

  /** Undefined where that has not been heard. */
  #after(spot: Spot, token: number): Spot | undefined {
    if (spot.phase === "thinking") {
      return token === this.#thoughts.endToken ? { phase: "answer", place: spot.place } : spot;
    }
    if (!this.#isText(spot, token)) return { phase: "thinking", place: spot.place };
    const place = this.#table.after(spot.place.state, token);
    return place && { phase: "answer", place };
  }

  /** Whether a token is of the answer, not of its thoughts or around them. */
  #isText({ phase }: Spot, token: number): boolean {
    return phase === "answer" || (phase === "beginning" && token !== this.#thoughts.beginToken);
  }

  #maskAt({ phase, place }: Spot): TokenMask {
    if (phase === "thinking") return this.#thoughts.mask;
    return phase === "beginning" ? this.first : this.#table.mask(place);
  }

  async #ask(token: number): Promise<TokenMask> {
    const { state } = this.#spot.place;
    const place = await this.#follower.follow(this.#table, state, token);
    if (place) return this.#goTo({ phase: "answer", place });
    const opened = await this.#follower.open(this.#source, this.#tokens);
    this.#table = opened.table;
    return this.#goTo({ phase: "answer", place: opened.place });
  }

  #goTo(spot: Spot): TokenMask {
    this.#spot = spot;
    return this.#maskAt(spot);
  }
}

export function phaseOf(thoughts: Thoughts): Phase {
  const { beginToken, endToken, startsInReasoning, mayThink } = thoughts;
  if (endToken === undefined) return "answer";
  if (startsInReasoning) return "thinking";
  return beginToken !== undefined && mayThink ? "beginning" : "answer";
}
