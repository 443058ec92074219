import { atMost, countOf, type Proposal } from "../speculation/index.ts";
import type { Speculator } from "./core-options.ts";
import type { Propose } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Proposes what answers have room for; of a constrained one, what may come as far as that is known. */
export function boundedProposals(speculation: Speculator, maxModelLen: number): Propose {
  const room = ({ generated, request, tokens }: Sequence) =>
    Math.min(request.maxTokens - generated, maxModelLen - tokens.length) - 1;
  return (sequences, rows) => {
    let left = rows;
    return speculation.propose(sequences, rows).map((proposal, i) => {
      const most = Math.max(0, Math.min(room(sequences[i]), left));
      const own = atMost(possible(proposal, sequences[i]), most);
      left -= countOf(own);
      return own;
    });
  };
}

function possible(proposal: Proposal, sequence: Sequence): Proposal {
  if (!sequence.isConstrained) return proposal;
  if (typeof proposal !== "number") return sequence.possible(proposal);
  const forced = sequence.possible([]);
  return forced.length > 0 ? forced : proposal;
}
