import { Detokenizer, type Vocabulary } from "../../model/index.ts";
import type { TokenReader } from "./choice-output.ts";

/** A reader that takes everything a model says for content. */
export function plainText(vocabulary: Vocabulary): TokenReader {
  const detokenizer = new Detokenizer(vocabulary);
  const content = (text: string) => (text === "" ? [] : [{ kind: "content" as const, text }]);
  return {
    reasoningTokens: 0,
    undecided: true,
    push: (token) => content(detokenizer.push(token)),
    end: () => content(detokenizer.end()),
  };
}
