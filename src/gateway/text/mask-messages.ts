/** What the gateway and its mask worker tell each other. */
import type { GrammarSource, Thinking, VocabularyTables } from "../../model/index.ts";

/** What masks are made for: the first message. */
export interface MaskStart {
  readonly vocabulary: VocabularyTables;
  readonly endTokens: readonly number[];
}

/** `matchers` number answers that are followed: `open` begins some that are constrained alike. */
export type MaskTask =
  | {
      readonly kind: "open";
      readonly id: number;
      readonly matchers: readonly number[];
      readonly source: GrammarSource;
      readonly thinking: Thinking;
    }
  | { readonly kind: "push"; readonly id: number; readonly matcher: number; readonly token: number }
  | { readonly kind: "close"; readonly matcher: number };

/** One for each task that has an id. `refused`: what is wrong with a schema or grammar. */
export type MaskReport =
  | { readonly kind: "mask"; readonly id: number; readonly mask: Uint32Array }
  | { readonly kind: "refused" | "failed"; readonly id: number; readonly message: string };
