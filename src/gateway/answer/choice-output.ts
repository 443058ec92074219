import type { GenerationEvent } from "../../engine/index.ts";
import type { OutputDelta } from "../../model/index.ts";
import { StopStrings } from "./stop-strings.ts";

export type TokenEvent = Extract<GenerationEvent, { kind: "token" }>;

/** Turns a choice's tokens into what they say; one per choice. */
export interface TokenReader {
  push(token: number): readonly OutputDelta[];
  end(): readonly OutputDelta[];
  /** Tokens pushed so far that were thinking. */
  readonly reasoningTokens: number;
  /** Whether a token that says nothing is a mark between parts, and not part of a character. */
  isMarker(token: number): boolean;
}

/** A token and where its text begins in all the choice's text of that kind. */
export interface PlacedToken {
  readonly token: TokenEvent;
  readonly start: number;
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
  /** Tokens that have not yet made text: parts of a character. */
  #unplaced: TokenEvent[] = [];
  /** Tokens of held-back content. */
  readonly #held: PlacedToken[] = [];
  /** Characters read of either kind, and those of content let through. */
  readonly #read = { reasoning: 0, content: 0 };
  #sent = 0;

  constructor(reader: TokenReader, stopStrings: readonly string[]) {
    this.#reader = reader;
    this.#stop = new StopStrings(stopStrings);
  }

  /** A stop string is complete: the choice has said all it may. */
  get stopped(): boolean {
    return this.#stop.matched;
  }

  get reasoningTokens(): number {
    return this.#reader.reasoningTokens;
  }

  push(token: TokenEvent): ChoiceDelta[] {
    const deltas = this.#reader.push(token.token);
    if (deltas.length > 0 || !this.#reader.isMarker(token.token)) this.#unplaced.push(token);
    return this.#takeAll(deltas);
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
    this.#read[delta.kind] += delta.text.length;
    const placed = tokens.map((token) => ({ token, start }));
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
