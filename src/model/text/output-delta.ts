/** Texts are never empty; joined per kind (and index) they are the whole. */
export type OutputDelta =
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "content"; readonly text: string }
  /** A call begins. `id`: the model's own name for it, where its format has one (Kimi-K2). */
  | {
      readonly kind: "tool-call";
      readonly index: number;
      readonly name: string;
      readonly id?: string;
    }
  | { readonly kind: "tool-arguments"; readonly index: number; readonly text: string };
