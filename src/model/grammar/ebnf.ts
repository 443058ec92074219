/**
 * Grammars in EBNF as llama.cpp's GBNF and vLLM's `grammar` have it:
 *
 *   root  ::= "[" item ("," item)* "]"    # a comment
 *   item  ::= [a-z]{1,8} | root
 */
import { characterOf, others } from "./characters.ts";
import { GrammarError } from "./errors.ts";
import type { Expressions } from "./expressions.ts";
import type { Node } from "./nodes.ts";
import { patternExpression } from "./pattern.ts";

const NAME = /^[A-Za-z][\w-]*/;
const SPACE = /^(?:\s|#[^\n]*)+/;
const STRING = /^"(?:[^"\\\n]|\\[^\n])*"/;
const CLASS = /^\[(?:[^\]\\]|\\[^])*\]/;
const REPEATS = /^(?:[*+?]|\{\s*\d+\s*(?:,\s*\d*\s*)?\})/;
const CONTROLS: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };
const MOST_REPEATS = 10_000;

/** A rule while it is looked at as a whole. */
interface Rule {
  readonly name: string;
  readonly node: Node;
}

/**
 * The node of a grammar's rule `root`.
 * @throws GrammarError when the grammar cannot be read, lacks a rule, or has one that begins with
 * itself or never ends
 */
export function ebnfNode(text: string, expressions: Expressions): Node {
  return new EbnfReader(text, expressions).read();
}

class EbnfReader {
  readonly #expressions: Expressions;
  readonly #rules = new Map<string, Node>();
  /** Nodes that stand for rules, by name. */
  readonly #references = new Map<string, Node>();
  readonly #names = new Map<Node, string>();
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string, expressions: Expressions) {
    this.#text = text;
    this.#expressions = expressions;
  }

  read(): Node {
    this.#skipSpace();
    while (this.#at < this.#text.length) this.#readRule();
    const root = this.#reference("root");
    const rules = [...this.#references.keys()].map((name): Rule => {
      const node = this.#rules.get(name);
      if (!node) throw new GrammarError(`grammar: no rule is called ${name}`);
      return { name, node };
    });
    this.#assertBegins(rules);
    this.#assertEnds(rules);
    return root;
  }

  #readRule(): void {
    const name = this.#take(NAME);
    if (name === undefined || this.#take(/^::=/) === undefined) {
      throw this.#problem("expected NAME ::= …");
    }
    if (this.#rules.has(name)) throw this.#problem(`${name} has been told before`);
    this.#rules.set(name, this.#alternatives());
  }

  #alternatives(): Node {
    const of = [this.#sequence()];
    while (this.#take(/^\|/) !== undefined) of.push(this.#sequence());
    return of.length === 1 ? of[0] : { kind: "choice", of };
  }

  #sequence(): Node {
    const of: Node[] = [];
    for (let item; (item = this.#item());) of.push(this.#repeated(item));
    return of.length === 1 ? of[0] : { kind: "sequence", of };
  }

  #repeated(item: Node): Node {
    let node = item;
    for (let found; (found = this.#take(REPEATS)) !== undefined;) {
      const [min, max] = boundsOf(found);
      if (min > max || (max < Infinity ? max : min) > MOST_REPEATS) {
        throw this.#problem(`${found} is no repetition`);
      }
      node = { kind: "repeat", of: node, min, max };
    }
    return node;
  }

  #item(): Node | undefined {
    const string = this.#take(STRING);
    if (string !== undefined) return this.#literal(string.slice(1, -1));
    const set = this.#take(CLASS);
    if (set !== undefined) {
      const options = { spelling: "raw", whole: true, path: `grammar, ${set}` } as const;
      const expression = patternExpression(this.#expressions, set, options);
      return { kind: "expression", expression };
    }
    if (this.#take(/^\./) !== undefined) {
      const expression = characterOf(this.#expressions, others([]), "raw");
      return { kind: "expression", expression };
    }
    if (this.#take(/^\(/) !== undefined) return this.#group();
    // A name before ::= begins the next rule.
    const [name] = NAME.exec(this.#text.slice(this.#at, this.#at + 256)) ?? [];
    if (name === undefined || /^\s*::=/.test(this.#text.slice(this.#at + name.length))) {
      return undefined;
    }
    this.#take(NAME);
    return this.#reference(name);
  }

  #group(): Node {
    if (++this.#depth > 200) throw this.#problem("groups lie too deep in each other");
    const inside = this.#alternatives();
    this.#depth--;
    if (this.#take(/^\)/) === undefined) throw this.#problem("expected )");
    return inside;
  }

  #literal(written: string): Node {
    const text = written.replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|(.))/gsu,
      (_, x?: string, u?: string, long?: string, other: string = "") => {
        const code = x ?? u ?? long;
        if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16));
        return CONTROLS[other] ?? other;
      },
    );
    return { kind: "expression", expression: this.#expressions.text(text) };
  }

  #reference(name: string): Node {
    const known = this.#references.get(name);
    if (known) return known;
    const node: Node = { kind: "rule", find: () => this.#rules.get(name) as Node };
    this.#references.set(name, node);
    this.#names.set(node, name);
    return node;
  }

  /** A rule that never comes to an end would lead answers on for ever. */
  #assertEnds(rules: readonly Rule[]): void {
    const ending = this.#fixedPoint(rules, ({ live }) => live);
    const endless = rules.find(({ name }) => !ending.has(name));
    if (endless) throw new GrammarError(`grammar: ${endless.name} never comes to an end`);
  }

  /** A rule that begins with itself would be entered for ever. */
  #assertBegins(rules: readonly Rule[]): void {
    const nullable = this.#fixedPoint(rules, ({ nullable: empty }) => empty);
    const firsts = new Map(
      rules.map(({ name, node }) => [name, this.#firstRules(node, nullable)] as const),
    );
    for (const { name } of rules) {
      const reached = new Set<string>();
      const open = [...(firsts.get(name) ?? [])];
      for (let next; (next = open.pop()) !== undefined;) {
        if (next === name) throw new GrammarError(`grammar: ${name} begins with itself`);
        if (reached.has(next)) continue;
        reached.add(next);
        open.push(...(firsts.get(next) ?? []));
      }
    }
  }

  /** Names of the rules of which something holds because it does of their parts. */
  #fixedPoint(
    rules: readonly Rule[],
    of: (expression: { readonly live: boolean; readonly nullable: boolean }) => boolean,
  ): ReadonlySet<string> {
    const known = new Set<string>();
    const holds = (node: Node): boolean => {
      if (node.kind === "sequence") return node.of.every(holds);
      if (node.kind === "choice") return node.of.some(holds);
      if (node.kind === "repeat") return node.min === 0 || holds(node.of);
      if (node.kind !== "expression") return known.has(this.#names.get(node) ?? "");
      const { nullable } = node.expression;
      return of({ nullable, live: this.#expressions.isLive(node.expression) });
    };
    for (let before = -1; before < known.size;) {
      before = known.size;
      for (const { name, node } of rules) if (holds(node)) known.add(name);
    }
    return known;
  }

  /** Rules that a node's text may begin with. */
  #firstRules(node: Node, nullable: ReadonlySet<string>): string[] {
    const isEmpty = (each: Node): boolean => {
      if (each.kind === "sequence") return each.of.every(isEmpty);
      if (each.kind === "choice") return each.of.some(isEmpty);
      if (each.kind === "repeat") return each.min === 0 || isEmpty(each.of);
      return each.kind === "expression"
        ? each.expression.nullable
        : nullable.has(this.#names.get(each) ?? "");
    };
    if (node.kind === "choice") return node.of.flatMap((each) => this.#firstRules(each, nullable));
    if (node.kind === "repeat") return this.#firstRules(node.of, nullable);
    if (node.kind === "sequence") {
      const end = node.of.findIndex((each) => !isEmpty(each));
      const begin = end < 0 ? node.of : node.of.slice(0, end + 1);
      return begin.flatMap((each) => this.#firstRules(each, nullable));
    }
    const name = this.#names.get(node);
    return name === undefined ? [] : [name];
  }

  /** What stands here, with the space behind it. */
  #take(form: RegExp): string | undefined {
    const [found] = form.exec(this.#text.slice(this.#at)) ?? [];
    if (found === undefined) return undefined;
    this.#at += found.length;
    this.#skipSpace();
    return found;
  }

  #skipSpace(): void {
    this.#at += SPACE.exec(this.#text.slice(this.#at))?.[0].length ?? 0;
  }

  #problem(what: string): GrammarError {
    const line = this.#text.slice(0, this.#at).split("\n").length;
    return new GrammarError(`grammar, line ${line}: ${what}`);
  }
}

function boundsOf(written: string): [min: number, max: number] {
  if (written === "*") return [0, Infinity];
  if (written === "+") return [1, Infinity];
  if (written === "?") return [0, 1];
  const [min, max] = written.slice(1, -1).split(",");
  return [
    Number(min),
    max === undefined ? Number(min) : max.trim() === "" ? Infinity : Number(max),
  ];
}
