/** Shapes as nodes of a grammar: the texts of all values that a schema allows, and no others. */
import { type Effort, GrammarError } from "./errors.ts";
import type { Expression, Expressions } from "./expressions.ts";
import type { JsonText } from "./json-text.ts";
import {
  type ItemNodes,
  type Member,
  type NamedMember,
  type Node,
  nodeOf,
  type ObjectNode,
  type ObjectPunctuation,
} from "./nodes.ts";
import { admits, NumberText } from "./number.ts";
import { SchemaReader } from "./schema-reader.ts";
import type { ArrayPart, NumberPart, ObjectPart, Placed, Shape, StringPart } from "./shapes.ts";

const MOST_PATTERNS = 6;

/** Schemas that hold together of one value. */
export interface Value {
  readonly all: readonly Placed[];
  /** Undefined: not yet known whether any text is there. */
  isLive: boolean;
  parts: readonly ValuePart[];
}

export type ValuePart =
  | { readonly kind: "scalar"; readonly node: Node; readonly isNull?: boolean }
  | { readonly kind: "string"; readonly string: StringPart; readonly node: Node }
  | { readonly kind: "array"; readonly array: ArrayPlan }
  | { readonly kind: "object"; readonly object: ObjectPlan };

interface ArrayPlan {
  readonly part: ArrayPart;
  /** By index; the last is that of all after it. */
  readonly items: readonly { readonly wanted?: Value; readonly other?: Value }[];
}

export interface ObjectPlan {
  readonly part: ObjectPart;
  readonly named: readonly NamedPlan[];
  readonly unnamed: readonly MemberPlan[];
}

/** `name`: its characters, as JSON.stringify writes them. */
export interface MemberPlan {
  readonly name: Expression;
  readonly value: Value;
}

export interface NamedPlan extends MemberPlan {
  readonly text: string;
  readonly required: boolean;
}

/** What grammars of one answer are made with. */
export interface Workshop {
  readonly expressions: Expressions;
  readonly json: JsonText;
  readonly effort: Effort;
}

/** The grammar of a schema's values. */
export class SchemaGrammar {
  readonly #reader: SchemaReader;
  readonly #expressions: Expressions;
  readonly #json: JsonText;
  readonly #effort: Effort;
  readonly #ids = new Map<Placed, number>();
  readonly #values = new Map<string, Value>();
  readonly #nodes = new Map<Value, Extract<Node, { kind: "rule" }>>();
  readonly #unplanned: Value[] = [];

  /** @throws GrammarError as what it is asked for */
  constructor(schema: Placed["schema"], { expressions, json, effort }: Workshop) {
    this.#reader = new SchemaReader(schema, expressions, json, effort);
    this.#expressions = expressions;
    this.#json = json;
    this.#effort = effort;
  }

  /**
   * All values of the schema.
   * @throws GrammarError naming the keyword that cannot be followed, or when no value is allowed
   */
  root(): Node {
    return this.node(this.#live([this.#reader.places.root]));
  }

  /** Those that are objects. @throws GrammarError as `root` */
  objects(): { readonly node: Node; readonly plans: readonly ObjectPlan[] } {
    const value = this.#live([this.#reader.places.root, anyObject]);
    const plans = partsOf(value).flatMap((part) => (part.kind === "object" ? [part.object] : []));
    return { node: this.node(value), plans };
  }

  #live(all: readonly Placed[]): Value {
    const root = this.#value(all);
    for (let value; (value = this.#unplanned.pop());) value.parts = this.#plan(value);
    const values = [...this.#values.values()];
    for (let grows = true; grows;) {
      grows = false;
      for (const value of values) {
        if (value.isLive || partsOf(value).length === 0) continue;
        value.isLive = true;
        grows = true;
      }
    }
    if (!root.isLive) throw new GrammarError("#: no value is allowed");
    // What cannot be followed is told before an answer begins.
    for (const value of values) if (value.isLive) this.node(value).find();
    return root;
  }

  #value(all: readonly Placed[]): Value {
    const own = [...new Set(all)].filter((each) => each !== this.#reader.places.any);
    const ids = own.map((placed) => {
      const id = this.#ids.get(placed) ?? this.#ids.size;
      this.#ids.set(placed, id);
      return id;
    });
    const key = ids.sort((a, b) => a - b).join();
    const known = this.#values.get(key);
    if (known) return known;
    this.#effort.spend(20);
    const value: Value = { all: own, isLive: false, parts: [] };
    this.#values.set(key, value);
    this.#unplanned.push(value);
    return value;
  }

  #plan({ all }: Value): ValuePart[] {
    return this.#reader.shapesOf(all).flatMap((shape) => {
      const parts = this.#scalars(shape);
      if (shape.array) parts.push({ kind: "array", array: this.#planArray(shape.array) });
      if (shape.object) parts.push({ kind: "object", object: this.#planObject(shape.object) });
      return parts;
    });
  }

  #scalars(shape: Shape): ValuePart[] {
    const words = [...(shape.null ? ["null"] : []), ...shape.booleans.map(String)];
    const word = this.#expressions.union(...words.map((each) => this.#expressions.text(each)));
    const { string } = shape;
    const text = string ? this.#string(string) : this.#expressions.nothing;
    const number = shape.number && this.#number(shape.number);
    const parts: ValuePart[] = [];
    if (words.length > 0) parts.push({ kind: "scalar", node: nodeOf(word), isNull: shape.null });
    if (string && this.#expressions.isLive(text)) {
      parts.push({ kind: "string", string, node: nodeOf(text) });
    }
    if (number) parts.push({ kind: "scalar", node: number });
    return parts;
  }

  #string({ min, max, like }: StringPart): Expression {
    const length = this.#json.ofLength(min, max, like.length === 0 ? "any" : "one");
    return this.#json.quoted(this.#expressions.intersection(length, ...like));
  }

  #number(part: NumberPart): Node | undefined {
    const { only, ...bounds } = part;
    const { min, max, step, not, fractional } = bounds;
    const node = (expression: Expression): Node | undefined =>
      this.#expressions.isLive(expression) ? nodeOf(expression) : undefined;
    if (only) {
      const there = only.filter((number) => admits(bounds, number));
      const texts = there.map((number) => this.#expressions.text(JSON.stringify(number)));
      const points = there.filter(Number.isInteger).filter((number) => Math.abs(number) < 1e21);
      const pointed = points.map((number) => this.#expressions.text(`${number}.0`));
      return node(this.#expressions.union(...texts, ...pointed));
    }
    const isWhole = step !== undefined && step.digits === 10n ** BigInt(step.scale);
    if (min === undefined && max === undefined && not.length === 0 && !fractional) {
      if (!step || isWhole) return node(step ? this.#json.whole : this.#json.number);
    }
    return NumberText.begin(bounds).isLive ? { kind: "number", bounds } : undefined;
  }

  #planArray(part: ArrayPart): ArrayPlan {
    const { rules, max, contains, uniqueAt } = part;
    if (uniqueAt !== undefined && max > 1) {
      throw new GrammarError(`${uniqueAt}: is not supported`);
    }
    const { none } = this.#reader.places;
    const [wanted, ...more] = contains.filter(({ min, max: most }) => min > 0 || most < Infinity);
    if (more.length > 0) throw new GrammarError(`${more[0].item.path}: several contains`);
    const length = Math.max(0, ...rules.map(({ first }) => first.length)) + 1;
    const items = Array.from({ length }, (_, i) => {
      const all = rules.map(({ first, rest }) => first[i] ?? rest);
      if (!wanted) return { other: this.#value(all) };
      const counts = wanted.max < Infinity;
      const others = counts ? [...all, this.#reader.places.not(wanted.item)] : all;
      const value = { other: this.#value(others) };
      return wanted.item === none
        ? value
        : { ...value, wanted: this.#value([...all, wanted.item]) };
    });
    return { part: { ...part, contains: wanted ? [wanted] : [] }, items };
  }

  #planObject(part: ObjectPart): ObjectPlan {
    const { rules, required } = part;
    const names = [
      ...new Set([...rules.flatMap(({ properties }) => [...properties.keys()]), ...required]),
    ];
    const mayBe = this.#names(part);
    const named = names.flatMap((text) => {
      const name = this.#json.literal(text);
      const key = this.#expressions.intersection(name, mayBe);
      if (!this.#expressions.isLive(key)) return required.has(text) ? [undefined] : [];
      const value = this.#value(rules.flatMap((rule) => this.#valuesOf(rule, text)));
      return [{ text, name, value, required: required.has(text) }];
    });
    if (named.includes(undefined)) return { part: { ...part, max: -1 }, named: [], unnamed: [] };
    const others = this.#expressions.intersection(
      ...[this.#json.characters, mayBe],
      ...names.map((name) => this.#expressions.complement(this.#json.literal(name))),
    );
    return {
      part,
      named: named.filter((each) => each !== undefined),
      unnamed: this.#unnamed(part, others),
    };
  }

  /** What `propertyNames` says of names' characters. */
  #names({ names }: ObjectPart): Expression {
    if (names.length === 0) return this.#expressions.anything;
    const strings = this.#reader.shapesOf(names).flatMap(({ string }) => (string ? [string] : []));
    return this.#expressions.union(
      ...strings.map(({ min, max, like }) =>
        this.#expressions.intersection(this.#json.ofLength(min, max, "one"), ...like),
      ),
    );
  }

  #valuesOf(
    { properties, patterns, additional }: ObjectPart["rules"][number],
    name: string,
  ): Placed[] {
    const written = JSON.stringify(name).slice(1, -1);
    const own = properties.get(name);
    const matching = patterns.filter(({ names }) => this.#expressions.has(names, written));
    const values = [...(own ? [own] : []), ...matching.map(({ value }) => value)];
    return values.length > 0 ? values : [additional];
  }

  /** Classes of other names, by which patterns they match. */
  #unnamed({ rules }: ObjectPart, others: Expression): MemberPlan[] {
    const patterns = [...new Set(rules.flatMap((rule) => rule.patterns.map(({ names }) => names)))];
    if (patterns.length > MOST_PATTERNS) {
      const message = `more than ${MOST_PATTERNS} patternProperties of one object are not supported`;
      throw new GrammarError(`${rules[0].patterns[0]?.value.path ?? "#"}: ${message}`);
    }
    return Array.from({ length: 2 ** patterns.length }, (_, bits) => {
      const matched = patterns.filter((__, i) => (bits >> i) & 1);
      const missed = patterns.filter((__, i) => !((bits >> i) & 1));
      const name = this.#expressions.intersection(
        ...[others, ...matched],
        ...missed.map((each) => this.#expressions.complement(each)),
      );
      if (!this.#expressions.isLive(name)) return undefined;
      const value = this.#value(
        rules.flatMap((rule) => {
          const own = rule.patterns.filter(({ names }) => matched.includes(names));
          return own.length > 0 ? own.map((each) => each.value) : [rule.additional];
        }),
      );
      return { name, value };
    }).filter((each) => each !== undefined);
  }

  /** Of a value that some text has. */
  node(value: Value): Extract<Node, { kind: "rule" }> {
    const known = this.#nodes.get(value);
    if (known) return known;
    let found: Node | undefined;
    const node = { kind: "rule", find: () => (found ??= this.#choice(value)) } as const;
    this.#nodes.set(value, node);
    return node;
  }

  #choice(value: Value): Node {
    return { kind: "choice", of: partsOf(value).map((part) => this.partNode(part)) };
  }

  /** Of a part that some text has. */
  partNode(part: ValuePart): Node {
    if (part.kind === "array") return this.#arrayNode(part.array);
    return part.kind === "object" ? this.#objectNode(part.object) : part.node;
  }

  #arrayNode({ part, items }: ArrayPlan): Node {
    const nodes = items.map(({ wanted, other }): ItemNodes => ({
      ...(wanted?.isLive && { wanted: this.node(wanted) }),
      ...(other?.isLive && { other: this.node(other) }),
    }));
    const [wanted] = part.contains;
    return {
      ...{ kind: "array", punctuation: this.#json.array, items: nodes },
      ...{ min: part.min, max: longest({ part, items }) },
      ...{ minWanted: wanted?.min ?? 0, maxWanted: wanted?.max ?? Infinity },
    };
  }

  #objectNode(plan: ObjectPlan): Node {
    const member = ({ name, value }: MemberPlan): Member => ({
      key: nodeOf(this.#json.quoted(name)),
      value: this.node(value),
    });
    return objectNode(plan, this.#json.object, member);
  }
}

/** An object's node, whatever its members look like. @throws GrammarError */
export function objectNode(
  { part, named, unnamed }: ObjectPlan,
  punctuation: ObjectPunctuation,
  member: (plan: MemberPlan | NamedPlan) => Member,
): ObjectNode {
  const { min, max, minAt, required } = part;
  const others = unnamed.filter(({ value }) => value.isLive);
  if (min > Math.max(1, required.size) && others.length > 0) {
    throw new GrammarError(`${minAt}: is supported where all names are known, and up to 1`);
  }
  return {
    ...{ kind: "object", punctuation, min, max },
    named: named
      .filter(({ value }) => value.isLive)
      .map((each): NamedMember => ({ ...member(each), required: each.required })),
    unnamed: others.map(member),
  };
}

const anyObject: Placed = { schema: { type: "object" }, path: "#" };

/** What a value may be, without what no text is. */
export const partsOf = ({ parts }: Value): ValuePart[] => parts.filter(partIsLive);

function partIsLive(part: ValuePart): boolean {
  if (part.kind === "scalar" || part.kind === "string") return true;
  if (part.kind === "object") return objectIsLive(part.object);
  const { array } = part;
  const length = longest(array);
  if (length < array.part.min) return false;
  const [wanted] = array.part.contains;
  if (!wanted) return true;
  if (wanted.max < wanted.min) return false;
  let room = 0;
  for (let i = 0; i < Math.min(length, array.items.length); i++)
    room += Number(array.items[i].wanted?.isLive ?? false);
  if (length > array.items.length && array.items.at(-1)?.wanted?.isLive)
    room += length - array.items.length;
  return room >= wanted.min;
}

function objectIsLive({ part, named, unnamed }: ObjectPlan): boolean {
  if (named.some(({ required, value }) => required && !value.isLive)) return false;
  if (part.required.size > part.max) return false;
  const known = named.filter(({ value }) => value.isLive).length;
  return part.max >= part.min && (unnamed.some(({ value }) => value.isLive) || known >= part.min);
}

/** Items that an array may have before one that no text has. */
function longest({ part, items }: ArrayPlan): number {
  const end = items.findIndex(({ wanted, other }) => !wanted?.isLive && !other?.isLive);
  return end < 0 ? part.max : Math.min(part.max, end);
}
