export { atMost, countOf, type Proposal } from "./proposal.ts";
export { Repeats } from "./repeats.ts";
export { Speculation } from "./speculation.ts";
