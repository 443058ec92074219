import { atMost } from "../speculation/index.ts";
import type { Speculator } from "./core-options.ts";
import type { Propose } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Proposes nothing that an answer has no room for, and nothing where only a mask says what may come. */
export function boundedProposals(speculation: Speculator, maxModelLen: number): Propose {
  const room = ({ generated, request, tokens, isConstrained }: Sequence) =>
    isConstrained ? 0 : Math.min(request.maxTokens - generated, maxModelLen - tokens.length) - 1;
  return (sequences, rows) =>
    speculation.propose(sequences, rows).map((proposal, i) => atMost(proposal, room(sequences[i])));
}
