/**
 * Jinja's syntax tree, as @huggingface/jinja reads it. Its meaning is in jinja-template.ts: in the library numbers lose
 * their digits and dicts their order, and lists can neither grow nor shrink.
 */
import { parse, tokenize } from "@huggingface/jinja";

/** The library's syntax tree, as far as it is read here. */
export type Node =
  | { type: "Program"; body: Node[] }
  | { type: "Comment" | "Break" | "Continue" }
  | { type: "If"; test: Node; body: Node[]; alternate: Node[] }
  | { type: "For"; loopvar: Node; iterable: Node; body: Node[]; defaultBlock: Node[] }
  | { type: "Set"; assignee: Node; value: Node | null; body: Node[] }
  | { type: "Macro"; name: Identifier; args: Parameter[]; body: Node[] }
  | { type: "CallStatement"; call: Call; callerArgs: Parameter[] | null; body: Node[] }
  | { type: "FilterStatement"; filter: Identifier | Call; body: Node[] }
  | { type: "MemberExpression"; object: Node; property: Node; computed: boolean }
  | { type: "SliceExpression"; start?: Node; stop?: Node; step?: Node }
  | { type: "StringLiteral"; value: string }
  | { type: "IntegerLiteral" | "FloatLiteral"; value: number }
  | { type: "ArrayLiteral" | "TupleLiteral"; value: Node[] }
  | { type: "ObjectLiteral"; value: Map<Node, Node> }
  | { type: "BinaryExpression"; operator: { value: string }; left: Node; right: Node }
  | { type: "UnaryExpression"; operator: { value: string }; argument: Node }
  | { type: "FilterExpression"; operand: Node; filter: Identifier | Call }
  | { type: "TestExpression"; operand: Node; negate: boolean; test: Identifier }
  | { type: "SelectExpression"; lhs: Node; test: Node }
  | { type: "Ternary"; condition: Node; trueExpr: Node; falseExpr: Node }
  | { type: "SpreadExpression" | "KeywordSpreadExpression"; argument: Node }
  | Keyword
  | Identifier
  | Call;
export interface Identifier {
  type: "Identifier";
  value: string;
}
export interface Call {
  type: "CallExpression";
  callee: Node;
  args: Node[];
}
interface Keyword {
  type: "KeywordArgumentExpression";
  key: Identifier;
  value: Node;
}
export type Parameter = Identifier | Keyword;

/** @throws Error where the source is no Jinja. */
export function parseTemplate(source: string): Node {
  // As transformers sets up Python's Jinja.
  const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true });
  return parse(tokens) as Node;
}
