import type { MaskSource } from "../../engine/index.ts";
import { onlyToken } from "../../kernels/index.ts";
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
  /** A bit for each token that may come first. */
  readonly first: Uint32Array;
}

/** Tokens that are looked ahead. */
const MOST_AHEAD = 16;

type Mask = Uint32Array | undefined;

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
  readonly mask: Uint32Array;
}

/** One answer on its way through its grammar, behind thoughts that are free. */
export class FollowedAnswer implements Constraint {
  readonly first: Uint32Array;
  readonly #source: GrammarSource;
  readonly #follower: Follower;
  readonly #thoughts: Thoughts;
  readonly #endTokens: readonly number[];
  #phase: "beginning" | "thinking" | "answer";
  #table: GrammarTable;
  #place: Place;
  /** Of the answer, without thoughts. */
  readonly #tokens: number[] = [];
  /** Where its last token leads is not known yet. */
  #asking: Promise<Mask> | undefined;

  constructor(
    source: GrammarSource,
    { table, start }: Opened,
    first: Uint32Array,
    thoughts: Thoughts,
    { follower, endTokens }: { readonly follower: Follower; readonly endTokens: readonly number[] },
  ) {
    this.#source = source;
    this.#follower = follower;
    this.#thoughts = thoughts;
    this.#endTokens = endTokens;
    this.#phase = phaseOf(thoughts);
    this.#table = table;
    this.#place = start;
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

  ahead(): Uint32Array[] {
    const masks: Uint32Array[] = [];
    if (this.#phase !== "answer") return masks;
    let place = this.#place;
    while (masks.length < MOST_AHEAD) {
      const only = onlyToken(this.#table.mask(place));
      const next = only === undefined ? undefined : this.#table.after(place.state, only);
      if (!next) break;
      masks.push(this.#table.mask(next));
      place = next;
    }
    return masks;
  }

  #step(token: number): Mask | Promise<Mask> {
    const { beginToken, endToken, mask } = this.#thoughts;
    if (this.#endTokens.includes(token)) return undefined;
    if (this.#phase === "thinking") {
      if (token !== endToken) return mask;
      this.#phase = "answer";
      return this.#table.mask(this.#place);
    }
    if (this.#phase === "beginning" && token === beginToken) {
      this.#phase = "thinking";
      return mask;
    }
    this.#phase = "answer";
    this.#tokens.push(token);
    const known = this.#table.after(this.#place.state, token);
    return known ? this.#goTo(known) : this.#ask(token);
  }

  async #ask(token: number): Promise<Uint32Array> {
    const { state } = this.#place;
    const place = await this.#follower.follow(this.#table, state, token);
    if (place) return this.#goTo(place);
    const opened = await this.#follower.open(this.#source, this.#tokens);
    this.#table = opened.table;
    return this.#goTo(opened.place);
  }

  #goTo(place: Place): Uint32Array {
    this.#place = place;
    return this.#table.mask(place);
  }
}

export function phaseOf(thoughts: Thoughts): "beginning" | "thinking" | "answer" {
  const { beginToken, endToken, startsInReasoning, mayThink } = thoughts;
  if (endToken === undefined) return "answer";
  if (startsInReasoning) return "thinking";
  return beginToken !== undefined && mayThink ? "beginning" : "answer";
}
