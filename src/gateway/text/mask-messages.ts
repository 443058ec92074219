/** What the gateway and its mask worker tell each other. */
import type { GrammarSource, Place, VocabularyTables } from "../../model/index.ts";

/** What masks are made for: the first message. */
export interface MaskStart {
  readonly vocabulary: VocabularyTables;
  readonly endTokens: readonly number[];
}

/** Where an answer goes on with a token. */
export interface FollowTask {
  readonly kind: "follow";
  readonly grammar: number;
  readonly state: number;
  readonly token: number;
}

/** Where an answer is after tokens of it. */
export interface OpenTask {
  readonly kind: "open";
  readonly source: GrammarSource;
  readonly tokens: readonly number[];
}

export type MaskTask = { readonly id: number } & (FollowTask | OpenTask);

/** What a report says for the first time: masks by their numbers, and grammars that are forgotten. */
export interface MaskNews {
  readonly masks: readonly (readonly [grammar: number, number: number, mask: Uint32Array])[];
  readonly dropped: readonly number[];
}

/** One for each task. `refused`: what is wrong with a schema or grammar, or
 * with a function that may be called; `forgotten`: open it again; `spent`: the same, if that can help. */
export type MaskReport = { readonly id: number } & (
  | {
      readonly kind: "opened";
      readonly grammar: number;
      readonly start: Place;
      readonly place: Place;
      /** Half of what it may cost is spent on this answer alone. */
      readonly isFull: boolean;
    }
  | {
      readonly kind: "place";
      readonly place: Place;
      /** Where each of 256 bytes leads from states on the way; UNKNOWN where that has not been asked for. */
      readonly steps: readonly (readonly [state: number, steps: Int32Array])[];
    }
  | { readonly kind: "forgotten" | "spent" }
  | { readonly kind: "refused"; readonly message: string; readonly isFunctions: boolean }
  | { readonly kind: "failed"; readonly message: string }
);

export type MaskReports = MaskNews & { readonly reports: readonly MaskReport[] };
