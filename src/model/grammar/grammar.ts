import { type AskedCalls, callsNode, wordsNode } from "./call-grammar.ts";
import { ebnfNode } from "./ebnf.ts";
import { Effort, GrammarError } from "./errors.ts";
import { Expressions } from "./expressions.ts";
import { JsonText } from "./json-text.ts";
import { Machine } from "./machine.ts";
import { MarkerText } from "./marker-text.ts";
import { type Node, nodeOf } from "./nodes.ts";
import { patternExpression } from "./pattern.ts";
import { SchemaGrammar, type Workshop } from "./schema-grammar.ts";

/** What an answer must be. */
export type GrammarSource =
  | TextSource
  /** Calls of functions, or whatever else it may be: `words` are any, which calls may follow. */
  | (AskedCalls & { readonly kind: "calls"; readonly otherwise?: "words" | TextSource });

export type TextSource =
  | { readonly kind: "json"; readonly schema: boolean | Readonly<Record<string, unknown>> }
  /** The whole answer matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  | { readonly kind: "ebnf"; readonly grammar: string }
  /** One of these texts. */
  | { readonly kind: "choice"; readonly texts: readonly string[] };

/** About 50 MiB, and a second of compute. */
const MOST_EFFORT = 1_000_000;

/**
 * The machine of a grammar. `specials`: a vocabulary's tokens that are no text, of which markers are made.
 * @throws GrammarError naming the place in a schema or grammar that cannot be followed
 */
export function compileGrammar(
  source: GrammarSource,
  specials: readonly (readonly [text: string, token: number])[] = [],
): Machine {
  const effort = new Effort(MOST_EFFORT, "the grammar");
  const expressions = new Expressions(effort);
  const workshop = { expressions, json: new JsonText(expressions), effort };
  const root =
    source.kind === "calls"
      ? callsOrElse(source, workshop, new MarkerText(expressions, specials))
      : textNode(source, workshop);
  const machine = new Machine(root, expressions, effort);
  if (!machine.effort.isLow) return machine;
  throw new GrammarError("the grammar is too large to be followed");
}

function callsOrElse(
  source: Extract<GrammarSource, { kind: "calls" }>,
  workshop: Workshop,
  markers: MarkerText,
): Node {
  const { format, otherwise } = source;
  const calls = callsNode(source, workshop, markers);
  const lead = nodeOf(workshop.json.lead);
  if (otherwise === undefined) return { kind: "sequence", of: [lead, calls] };
  if (otherwise === "words") {
    const mayCall: Node = { kind: "repeat", of: calls, min: 0, max: 1 };
    return { kind: "sequence", of: [wordsNode(format, workshop, markers), mayCall] };
  }
  const whole: Node = { kind: "sequence", of: [lead, calls] };
  return { kind: "choice", of: [whole, textNode(otherwise, workshop)] };
}

function textNode(source: TextSource, { expressions, json, effort }: Workshop): Node {
  if (source.kind === "json") {
    const value = new SchemaGrammar(source.schema, { expressions, json, effort }).root();
    return { kind: "sequence", of: [nodeOf(json.lead), value] };
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
  if (expressions.isLive(expression)) return nodeOf(expression);
  throw new GrammarError("no text is allowed");
}
