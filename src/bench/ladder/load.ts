import { greedySampling, type AskedRequest } from "../../engine/index.ts";
import { randomSource } from "../../kernels/index.ts";

export interface LadderLoad {
  readonly requests: number;
  /** Tokens of an average prompt, and of an average answer. */
  readonly prompt: number;
  readonly answer: number;
}

/** Every fourth request is so much longer than the others. */
const LONG = 5;
const SHORT = (4 - LONG / 2) / 3;

/**
 * Requests of very different lengths, long ones at regular distances, as they are worst for ranks that take
 * turns. Rounds differ in tokens only, so that no round finds another's prefixes in the cache.
 */
export function ladderRequests(load: LadderLoad, round: number, vocabSize: number): AskedRequest[] {
  const random = randomSource(1 + round);
  const token = () => Math.floor(random() * vocabSize);
  return Array.from({ length: load.requests }, (_, i): AskedRequest => {
    const weight = i % 4 === 0 ? LONG / 2 : SHORT;
    const length = Math.max(1, Math.round(load.prompt * weight));
    return {
      id: `${round} ${i}`,
      tenant: "",
      prompt: Array.from({ length }, token),
      choice: 0,
      stopTokens: [],
      maxTokens: Math.max(1, Math.round(load.answer * weight)),
      sampling: greedySampling,
    };
  });
}
