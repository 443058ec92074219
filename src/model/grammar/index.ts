export { type AskedCalls, type CalledFunction, markersOf } from "./call-grammar.ts";
export { FunctionError, GrammarError } from "./errors.ts";
export type { GrammarSource, TextSource } from "./grammar.ts";
export { type FollowedGrammar, Grammars, type Place } from "./grammars.ts";
export { UNKNOWN } from "./machine.ts";
export { allow, maskWithout, TokenOrder } from "./token-masks.ts";
