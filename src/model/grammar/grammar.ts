import { ebnfNode } from "./ebnf.ts";
import { Effort, GrammarError } from "./errors.ts";
import { Expressions } from "./expressions.ts";
import { JsonText } from "./json-text.ts";
import { Machine } from "./machine.ts";
import type { Node } from "./nodes.ts";
import { patternExpression } from "./pattern.ts";
import { schemaNode } from "./schema-grammar.ts";

/** What an answer must be. */
export type GrammarSource =
  | { readonly kind: "json"; readonly schema: boolean | Readonly<Record<string, unknown>> }
  /** The whole answer matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  | { readonly kind: "ebnf"; readonly grammar: string }
  /** One of these texts. */
  | { readonly kind: "choice"; readonly texts: readonly string[] };

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
  const root = rootOf(source, expressions, json, effort);
  return new Machine(root, expressions, json.punctuation, effort);
}

function rootOf(
  source: GrammarSource,
  expressions: Expressions,
  json: JsonText,
  effort: Effort,
): Node {
  if (source.kind === "json") {
    const value = schemaNode(source.schema, expressions, json, effort);
    return { kind: "sequence", of: [{ kind: "expression", expression: json.lead }, value] };
  }
  if (source.kind === "ebnf") return ebnfNode(source.grammar, expressions);
  const expression =
    source.kind === "choice"
      ? expressions.union(...source.texts.map((text) => expressions.text(text)))
      : patternExpression(expressions, source.pattern, {
          spelling: "raw",
          whole: true,
          path: "pattern",
        });
  if (expressions.isLive(expression)) return { kind: "expression", expression };
  throw new GrammarError("no text is allowed");
}
