import type { GenerationEvent } from "../../engine/index.ts";
import type { OutputDelta } from "../../model/index.ts";
import type { StopStrings } from "./stop-strings.ts";

export type TokenEvent = Extract<GenerationEvent, { kind: "token" }>;

/** Turns a choice's tokens into what they say; one per choice. */
export interface TokenReader {
  push(token: number): readonly OutputDelta[];
  end(): readonly OutputDelta[];
  /** Tokens pushed so far that were thinking. */
  readonly reasoningTokens: number;
  /** Whether tokens that have said nothing may still: they are part of a character, or held back. */
  readonly undecided: boolean;
}

/** A token and where its text begins in all the choice's text of that kind. */
export interface PlacedToken {
  readonly token: TokenEvent;
  readonly start: number;
  /** The same in code points, as clients in other languages count. */
  readonly offset: number;
}

/** What a choice says next; text comes with the tokens that begin in it. */
export type ChoiceDelta =
  | { readonly kind: "reasoning"; readonly text: string; readonly tokens: readonly PlacedToken[] }
  | { readonly kind: "content"; readonly text: string; readonly tokens: readonly PlacedToken[] }
  | Extract<OutputDelta, { kind: "tool-call" | "tool-arguments" }>;

/**
 * One choice's tokens on their way to the client: read as text, searched for stop strings, held
 * back where a stop string may have begun. Stop strings are searched in content alone.
 */
export class ChoiceOutput {
  readonly #reader: TokenReader;
  readonly #stop: StopStrings;
  /** Tokens that have not yet made text. */
  #unplaced: TokenEvent[] = [];
  /** Tokens of held-back content. */
  readonly #held: PlacedToken[] = [];
  /** Characters read of either kind, and those of content let through. */
  readonly #read = { reasoning: 0, content: 0 };
  readonly #codePoints = { reasoning: 0, content: 0 };
  #sent = 0;

  constructor(reader: TokenReader, stop: StopStrings) {
    this.#reader = reader;
    this.#stop = stop;
  }

  /** A stop string is complete: the choice has said all it may. */
  get stopped(): boolean {
    return this.#stop.matched;
  }

  get stopString(): string | undefined {
    return this.#stop.match;
  }

  get reasoningTokens(): number {
    return this.#reader.reasoningTokens;
  }

  push(token: TokenEvent): ChoiceDelta[] {
    const deltas = this.#reader.push(token.token);
    this.#unplaced.push(token);
    const said = this.#takeAll(deltas);
    // A marker's token, and white space next to it, is part of nothing that is said.
    if (!this.#reader.undecided) this.#unplaced = [];
    return said;
  }

  /** The rest, when no more tokens come. */
  end(): ChoiceDelta[] {
    return [...this.#takeAll(this.#reader.end()), ...this.#releaseHeld()];
  }

  #takeAll(deltas: readonly OutputDelta[]): ChoiceDelta[] {
    return deltas.flatMap((delta) => (this.stopped ? [] : this.#take(delta)));
  }

  #take(delta: OutputDelta): ChoiceDelta[] {
    const tokens = this.#unplaced;
    this.#unplaced = [];
    if (delta.kind === "tool-call" || delta.kind === "tool-arguments") {
      return [...this.#releaseHeld(), delta];
    }
    const start = this.#read[delta.kind];
    const offset = this.#codePoints[delta.kind];
    this.#read[delta.kind] += delta.text.length;
    this.#codePoints[delta.kind] += codePoints(delta.text);
    const placed = tokens.map((token) => ({ token, start, offset }));
    if (delta.kind === "reasoning") return [...this.#releaseHeld(), { ...delta, tokens: placed }];
    this.#held.push(...placed);
    return this.#content(this.#stop.push(delta.text));
  }

  #releaseHeld(): ChoiceDelta[] {
    return this.#content(this.#stop.end());
  }

  #content(text: string): ChoiceDelta[] {
    if (text === "") return [];
    this.#sent += text.length;
    const later = this.#held.findIndex(({ start }) => start >= this.#sent);
    const tokens = this.#held.splice(0, later < 0 ? this.#held.length : later);
    return [{ kind: "content", text, tokens }];
  }
}

const codePoints = (text: string): number =>
  text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
