import { Effort } from "./errors.ts";
import { Expressions } from "./expressions.ts";
import { JsonText } from "./json-text.ts";
import { Machine } from "./machine.ts";
import type { Node } from "./nodes.ts";
import { schemaNode } from "./schema-grammar.ts";

/** What an answer must be. */
export type GrammarSource = {
  readonly kind: "json";
  readonly schema: boolean | Readonly<Record<string, unknown>>;
};

/** About 50 MiB, and a second or two. */
const MOST_EFFORT = 1_000_000;

/**
 * The machine of a grammar.
 * @throws GrammarError naming the place in a schema or grammar that cannot be followed
 */
export function compileGrammar(source: GrammarSource): Machine {
  const effort = new Effort(MOST_EFFORT, "the grammar");
  const expressions = new Expressions(effort);
  const json = new JsonText(expressions);
  const value = schemaNode(source.schema, expressions, json, effort);
  const root: Node = {
    kind: "sequence",
    of: [{ kind: "expression", expression: json.lead }, value],
  };
  return new Machine(root, expressions, json.punctuation, effort);
}
