export type { RungFigures, UnitFigures } from "./figures.ts";
export { climbLadder } from "./ladder.ts";
export type { LadderLoad } from "./load.ts";
export { drawLadder } from "./picture.ts";
export { spansByRank, type RankSpan } from "./rank-spans.ts";
