import { atMost, countOf, type Proposal } from "../speculation/index.ts";
import type { Speculator } from "./core-options.ts";
import type { Propose } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Proposes what answers have room for. Of a constrained one nothing is guessed: what must come is proposed,
 * since its masks are known.
 */
export function boundedProposals(speculation: Speculator, maxModelLen: number): Propose {
  const room = ({ generated, request, tokens }: Sequence) =>
    Math.min(request.maxTokens - generated, maxModelLen - tokens.length) - 1;
  return (sequences, rows) => {
    let left = rows;
    const bounded = (proposal: Proposal, sequence: Sequence): Proposal => {
      const own = atMost(proposal, Math.max(0, Math.min(room(sequence), left)));
      left -= countOf(own);
      return own;
    };
    const free = sequences.filter(({ isConstrained }) => !isConstrained);
    const guesses = speculation.propose(free, rows).values();
    return sequences.map((sequence) =>
      bounded(sequence.isConstrained ? sequence.forced : (guesses.next().value ?? []), sequence),
    );
  };
}
