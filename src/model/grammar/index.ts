export { GrammarError } from "./errors.ts";
export type { GrammarSource } from "./grammar.ts";
export { Grammars, Matcher, type Thinking } from "./matcher.ts";
export { TokenOrder } from "./token-masks.ts";
