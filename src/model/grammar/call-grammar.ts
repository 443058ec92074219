/** Answers that call functions: a model's own markers around a name, and arguments that a schema allows. */
import { type FormatDescription, type ToolCallFormat, toolCallFormats } from "../text/index.ts";
import { characterOf, others } from "./characters.ts";
import { FunctionError, GrammarError } from "./errors.ts";
import type { MarkerText } from "./marker-text.ts";
import { type Node, nodeOf } from "./nodes.ts";
import { pairsNode } from "./pair-arguments.ts";
import { SchemaGrammar, type Workshop } from "./schema-grammar.ts";
import type { Placed } from "./shapes.ts";

export interface AskedCalls {
  readonly format: ToolCallFormat;
  readonly functions: readonly CalledFunction[];
  /** Whether there may be several. */
  readonly parallel: boolean;
}

export interface CalledFunction {
  readonly name: string;
  readonly parameters: Placed["schema"];
  /** A schema that cannot be followed is refused; otherwise any object will do instead. */
  readonly isStrict: boolean;
}

/** What formats read as a name. */
const NAME = /^[^\s{}<>"'`|｜:]+$/u;

/** Calls and nothing else. @throws GrammarError naming the function, and what of it cannot be followed */
export function callsNode(
  { format, functions, parallel }: AskedCalls,
  workshop: Workshop,
  markers: MarkerText,
): Node {
  const { section, indent = "", writing } = toolCallFormats[format];
  const call: Node = {
    kind: "choice",
    of: functions.map((each) => callNode(each, toolCallFormats[format], workshop, markers)),
  };
  const next: Node = { kind: "sequence", of: [markers.node(writing.next), call] };
  const more: Node = { kind: "repeat", of: next, min: 0, max: parallel ? Infinity : 0 };
  const of = [call, more];
  const whole: Node[] = section
    ? [markers.node(section[0] + indent), ...of, markers.node(section[1])]
    : of;
  return { kind: "sequence", of: whole };
}

/** Words that begin no call. */
export function wordsNode(
  format: ToolCallFormat,
  { expressions }: Workshop,
  markers: MarkerText,
): Node {
  const texts = markersOf(format);
  const { section, call } = toolCallFormats[format];
  const beginnings = [...(section ? [section[0]] : []), call[0]];
  const spelled = beginnings.filter((text) => markers.tokensIn(text).length === 0);
  const { anything } = expressions;
  const words = nodeOf(
    expressions.intersection(
      expressions.repeat(characterOf(expressions, others([]), "raw"), 0, Infinity),
      ...spelled.map((text) =>
        expressions.complement(expressions.sequence(anything, expressions.text(text), anything)),
      ),
    ),
  );
  const barred = new Set(texts.flatMap((text) => markers.tokensIn(text)));
  const free = markers.tokens.filter((token) => !barred.has(token));
  const marked: Node = {
    kind: "sequence",
    of: [{ kind: "tokens", tokens: new Set(free) }, words],
  };
  return { kind: "sequence", of: [words, { kind: "repeat", of: marked, min: 0, max: Infinity }] };
}

/** Texts that begin and end a format's calls and their parts. */
export function markersOf(format: ToolCallFormat): string[] {
  const { section = [], call, pairs } = toolCallFormats[format];
  return [...section, ...call, ...(pairs?.value ?? [])];
}

function callNode(
  called: CalledFunction,
  { writing, pairs }: FormatDescription,
  workshop: Workshop,
  markers: MarkerText,
): Node {
  const { name } = called;
  if (!NAME.test(name)) throw new FunctionError(`${name}: is no name that a call can have`);
  const number = workshop.expressions.repeat(workshop.expressions.range(0x30, 0x39), 1, 4);
  const { grammar, schema } = argumentsOf(called, workshop);
  const given = pairs
    ? pairsNode(grammar, pairs, schema, workshop, markers)
    : grammar.objects().node;
  const of = [
    markers.node(writing.before + name),
    ...(writing.isNumbered ? [markers.node(":"), nodeOf(number)] : []),
    ...[markers.node(writing.between), given, markers.node(writing.after)],
  ];
  return { kind: "sequence", of };
}

function argumentsOf({ name, parameters, isStrict }: CalledFunction, workshop: Workshop) {
  const grammarOf = (schema: Placed["schema"]) => {
    const grammar = new SchemaGrammar(schema, workshop);
    grammar.objects();
    return { grammar, schema };
  };
  try {
    return grammarOf(parameters);
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    if (isStrict) throw new FunctionError(`${name}'s parameters: ${error.message}`);
    return grammarOf({ type: "object" });
  }
}
