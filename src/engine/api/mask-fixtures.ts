import { allows, onlyToken, type TokenMask } from "../../kernels/index.ts";
import type { MaskSource, Step } from "./answer-masks.ts";

/** A mask of a small vocabulary. */
export function maskOf(vocabSize: number, isAllowed: (token: number) => boolean): TokenMask {
  const words = new Uint32Array(Math.ceil(vocabSize / 32));
  for (let token = 0; token < vocabSize; token++) {
    if (isAllowed(token)) words[token >>> 5] |= 1 << (token & 31);
  }
  return words;
}

export interface FollowedTokens {
  /** Resolves when it is known what may come next; at once if not given. */
  readonly wait?: () => Promise<void>;
  /** After which nothing comes. */
  readonly ends?: readonly number[];
  /** Whether it is known what may come after a token that is not told yet. */
  readonly knows?: () => boolean;
}

/** Answers in which the token before says what may come. */
export function masksAfter(
  maskAfter: (token: number) => TokenMask,
  { wait, ends = [], knows = () => true }: FollowedTokens = {},
): MaskSource {
  let last: TokenMask | undefined;
  return {
    next(token) {
      last = ends.includes(token) ? undefined : maskAfter(token);
      const next = last;
      return wait ? wait().then(() => next) : next;
    },
    ahead(guessed) {
      const steps: Step[] = [];
      let guesses = guessed;
      for (let mask = last; mask && steps.length < 16; mask = steps.at(-1)?.mask) {
        const guess = guesses[steps.length];
        const token = onlyToken(mask) ?? guess;
        if (token === undefined || !allows(mask, token) || ends.includes(token) || !knows()) break;
        if (token !== guess) guesses = [];
        steps.push({ token, mask: maskAfter(token) });
      }
      return steps;
    },
  };
}
