/** Tokens that may follow a sequence's, or how many the MTP layer is to draft. */
export type Proposal = readonly number[] | number;

export function countOf(proposal: Proposal): number {
  return typeof proposal === "number" ? proposal : proposal.length;
}

export function atMost(proposal: Proposal, count: number): Proposal {
  return typeof proposal === "number" ? Math.min(proposal, count) : proposal.slice(0, count);
}
