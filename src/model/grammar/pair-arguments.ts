/** A call's arguments as keys and values, texts without quotes. */
import { type FormatDescription, writtenParameter } from "../text/index.ts";
import { GrammarError } from "./errors.ts";
import type { Expression } from "./expressions.ts";
import type { MarkerText } from "./marker-text.ts";
import { emptyNode, type Node, nodeOf } from "./nodes.ts";
import { patternExpression } from "./pattern.ts";
import {
  type MemberPlan,
  type NamedPlan,
  objectNode,
  partsOf,
  type SchemaGrammar,
  type Workshop,
} from "./schema-grammar.ts";
import type { Placed, StringPart } from "./shapes.ts";

type Pairs = NonNullable<FormatDescription["pairs"]>;

/**
 * The objects of a grammar, pair by pair.
 * @throws GrammarError when one that has to be there cannot be written so
 */
export function pairsNode(
  grammar: SchemaGrammar,
  pairs: Pairs,
  parameters: Placed["schema"],
  workshop: Workshop,
  markers: MarkerText,
): Node {
  const { writing } = pairs;
  const between = markers.node(writing.between);
  const empty = { open: emptyNode, close: emptyNode, first: emptyNode, comma: emptyNode };
  const given = new PairArguments(grammar, pairs, parameters, workshop, markers);
  const member = (plan: MemberPlan | NamedPlan) => ({
    key: { kind: "sequence", of: [markers.node(writing.before), given.key(plan)] } as const,
    value: given.value(plan),
  });
  const of = grammar
    .objects()
    .plans.map((plan) => objectNode(plan, { ...empty, colon: between }, member));
  return { kind: "choice", of };
}

class PairArguments {
  readonly #grammar: SchemaGrammar;
  readonly #pairs: Pairs;
  readonly #parameters: Placed["schema"];
  readonly #workshop: Workshop;
  readonly #markers: MarkerText;
  readonly #freeName: Expression;

  constructor(
    grammar: SchemaGrammar,
    pairs: Pairs,
    parameters: Placed["schema"],
    workshop: Workshop,
    markers: MarkerText,
  ) {
    this.#grammar = grammar;
    this.#pairs = pairs;
    this.#parameters = parameters;
    this.#workshop = workshop;
    this.#markers = markers;
    const options = { spelling: "raw", whole: true, path: "" } as const;
    this.#freeName = patternExpression(workshop.expressions, "[A-Za-z_][\\w.-]{0,63}", options);
  }

  key(plan: MemberPlan | NamedPlan): Node {
    const { expressions } = this.#workshop;
    if (!("text" in plan)) return nodeOf(expressions.intersection(plan.name, this.#freeName));
    const { text, required } = plan;
    if (!/[<>"]|^\s|\s$|^$/.test(text)) return nodeOf(expressions.text(text));
    if (required) throw new GrammarError(`#/properties/${text}: cannot be written by this model`);
    return nodeOf(expressions.nothing);
  }

  value(plan: MemberPlan | NamedPlan): Node {
    const { writing } = this.#pairs;
    const isTold = writing.text !== writing.json;
    const { isText, orNull } =
      !isTold && "text" in plan
        ? writtenParameter(this.#parameters, plan.text)
        : { isText: isTold, orNull: false };
    const of = partsOf(plan.value).flatMap((part): Node[] => {
      if (part.kind === "string" && isText) {
        const text = this.#unquoted(part.string, orNull);
        return this.#workshop.expressions.isLive(text)
          ? [this.#after(writing.text, nodeOf(text))]
          : [];
      }
      if (isTold || !isText) {
        // Other parts of a value are alike in quotes and without.
        return [this.#after(writing.json, this.#nodeOf(part))];
      }
      return part.kind === "scalar" && part.isNull
        ? [this.#after(writing.text, nodeOf(this.#workshop.expressions.text("null")))]
        : [];
    });
    if (of.length === 0 && "text" in plan && plan.required) {
      throw new GrammarError(`#/properties/${plan.text}: cannot be written by this model`);
    }
    return { kind: "choice", of };
  }

  #nodeOf(part: ReturnType<typeof partsOf>[number]): Node {
    return this.#grammar.partNode(part);
  }

  #after(before: string, value: Node): Node {
    const of = [this.#markers.node(before), value, this.#markers.node(this.#pairs.writing.after)];
    return { kind: "sequence", of };
  }

  #unquoted({ min, max, like }: StringPart, orNull: boolean): Expression {
    const { json, expressions } = this.#workshop;
    const [, end] = this.#pairs.value;
    const text =
      like.length === 0 ? json.unquoted(min, max, end) : json.unquotedLike(min, max, like, end);
    const none = expressions.complement(expressions.text("null"));
    return orNull ? expressions.intersection(text, none) : text;
  }
}
