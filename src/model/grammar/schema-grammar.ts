/** Shapes as nodes of a grammar: the texts of all values that a schema allows, and no others. */
import { type Effort, GrammarError } from "./errors.ts";
import type { Expression, Expressions } from "./expressions.ts";
import type { JsonText } from "./json-text.ts";
import type { ItemNodes, Member, NamedMember, Node } from "./nodes.ts";
import { admits, NumberText } from "./number.ts";
import { SchemaReader } from "./schema-reader.ts";
import type { ArrayPart, NumberPart, ObjectPart, Placed, Shape, StringPart } from "./shapes.ts";

const MOST_PATTERNS = 6;

/** Schemas that hold together of one value. */
interface Value {
  readonly all: readonly Placed[];
  /** Undefined: not yet known whether any text is there. */
  isLive: boolean;
  parts: readonly ValuePart[];
}

type ValuePart =
  | { readonly kind: "scalar"; readonly node: Node }
  | { readonly kind: "array"; readonly array: ArrayPlan }
  | { readonly kind: "object"; readonly object: ObjectPlan };

interface ArrayPlan {
  readonly part: ArrayPart;
  /** By index; the last is that of all after it. */
  readonly items: readonly { readonly wanted?: Value; readonly other?: Value }[];
}

interface ObjectPlan {
  readonly part: ObjectPart;
  readonly named: readonly { name: string; key: Expression; value: Value; required: boolean }[];
  readonly unnamed: readonly { readonly key: Expression; readonly value: Value }[];
}

/**
 * The grammar of a schema's values.
 * @throws GrammarError naming the keyword that cannot be followed, or when no value is allowed
 */
export function schemaNode(
  schema: Placed["schema"],
  expressions: Expressions,
  json: JsonText,
  effort: Effort,
): Node {
  return new SchemaGrammar(schema, expressions, json, effort).root();
}

class SchemaGrammar {
  readonly #reader: SchemaReader;
  readonly #expressions: Expressions;
  readonly #json: JsonText;
  readonly #effort: Effort;
  readonly #ids = new Map<Placed, number>();
  readonly #values = new Map<string, Value>();
  readonly #nodes = new Map<Value, Node>();
  readonly #unplanned: Value[] = [];

  constructor(schema: Placed["schema"], expressions: Expressions, json: JsonText, effort: Effort) {
    this.#reader = new SchemaReader(schema, expressions, json, effort);
    this.#expressions = expressions;
    this.#json = json;
    this.#effort = effort;
  }

  root(): Node {
    const root = this.#value([this.#reader.places.root]);
    for (let value; (value = this.#unplanned.pop());) value.parts = this.#plan(value);
    const values = [...this.#values.values()];
    for (let grows = true; grows;) {
      grows = false;
      for (const value of values) {
        if (value.isLive || !value.parts.some((part) => partIsLive(part))) continue;
        value.isLive = true;
        grows = true;
      }
    }
    if (!root.isLive) throw new GrammarError("#: no value is allowed");
    return this.#node(root);
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
      const scalars = this.#scalars(shape);
      const parts: ValuePart[] = scalars.map((node) => ({ kind: "scalar", node }));
      if (shape.array) parts.push({ kind: "array", array: this.#planArray(shape.array) });
      if (shape.object) parts.push({ kind: "object", object: this.#planObject(shape.object) });
      return parts;
    });
  }

  #scalars(shape: Shape): Node[] {
    const words = [...(shape.null ? ["null"] : []), ...shape.booleans.map(String)].map((word) =>
      this.#expressions.text(word),
    );
    const string = shape.string && this.#string(shape.string);
    const expression = this.#expressions.union(...words, ...(string ? [string] : []));
    const nodes: Node[] = this.#expressions.isLive(expression)
      ? [{ kind: "expression", expression }]
      : [];
    const number = shape.number && this.#number(shape.number);
    return number ? [...nodes, number] : nodes;
  }

  #string({ min, max, like }: StringPart): Expression {
    const length = this.#json.ofLength(min, max, like.length === 0 ? "any" : "one");
    return this.#json.quoted(this.#expressions.intersection(length, ...like));
  }

  #number(part: NumberPart): Node | undefined {
    const { only, ...bounds } = part;
    const { min, max, step, not, fractional } = bounds;
    const node = (expression: Expression): Node | undefined =>
      this.#expressions.isLive(expression) ? { kind: "expression", expression } : undefined;
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
    const named = names.flatMap((name) => {
      const text = this.#json.literal(name);
      const key = this.#expressions.intersection(text, mayBe);
      if (!this.#expressions.isLive(key)) return required.has(name) ? [undefined] : [];
      const value = this.#value(rules.flatMap((rule) => this.#valuesOf(rule, name)));
      return [{ name, key: this.#json.quoted(text), value, required: required.has(name) }];
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
  #unnamed({ rules }: ObjectPart, others: Expression): { key: Expression; value: Value }[] {
    const patterns = [...new Set(rules.flatMap((rule) => rule.patterns.map(({ names }) => names)))];
    if (patterns.length > MOST_PATTERNS) {
      const message = `more than ${MOST_PATTERNS} patternProperties of one object are not supported`;
      throw new GrammarError(`${rules[0].patterns[0]?.value.path ?? "#"}: ${message}`);
    }
    return Array.from({ length: 2 ** patterns.length }, (_, bits) => {
      const matched = patterns.filter((__, i) => (bits >> i) & 1);
      const missed = patterns.filter((__, i) => !((bits >> i) & 1));
      const key = this.#expressions.intersection(
        ...[others, ...matched],
        ...missed.map((each) => this.#expressions.complement(each)),
      );
      if (!this.#expressions.isLive(key)) return undefined;
      const value = this.#value(
        rules.flatMap((rule) => {
          const own = rule.patterns.filter(({ names }) => matched.includes(names));
          return own.length > 0 ? own.map((each) => each.value) : [rule.additional];
        }),
      );
      return { key: this.#json.quoted(key), value };
    }).filter((each) => each !== undefined);
  }

  /** Of a value that some text has. */
  #node(value: Value): Node {
    const known = this.#nodes.get(value);
    if (known) return known;
    let found: Node | undefined;
    const node: Node = { kind: "rule", find: () => (found ??= this.#choice(value)) };
    this.#nodes.set(value, node);
    return node;
  }

  #choice({ parts }: Value): Node {
    const of = parts.filter(partIsLive).map((part): Node => {
      if (part.kind === "scalar") return part.node;
      return part.kind === "array" ? this.#arrayNode(part.array) : this.#objectNode(part.object);
    });
    return { kind: "choice", of };
  }

  #arrayNode({ part, items }: ArrayPlan): Node {
    const nodes = items.map(({ wanted, other }): ItemNodes => ({
      ...(wanted?.isLive && { wanted: this.#node(wanted) }),
      ...(other?.isLive && { other: this.#node(other) }),
    }));
    const [wanted] = part.contains;
    return {
      ...{ kind: "array", items: nodes, min: part.min, max: longest({ part, items }) },
      ...{ minWanted: wanted?.min ?? 0, maxWanted: wanted?.max ?? Infinity },
    };
  }

  #objectNode({ part, named, unnamed }: ObjectPlan): Node {
    const { min, max, minAt } = part;
    const others = unnamed.filter(({ value }) => value.isLive);
    if (min > Math.max(1, part.required.size) && others.length > 0) {
      throw new GrammarError(`${minAt}: is supported where all names are known, and up to 1`);
    }
    const member = ({ key, value }: ObjectPlan["unnamed"][number]): Member => ({
      key,
      value: this.#node(value),
    });
    return {
      ...{ kind: "object", min, max },
      named: named
        .filter(({ value }) => value.isLive)
        .map((each): NamedMember => ({ ...member(each), required: each.required })),
      unnamed: others.map(member),
    };
  }
}

function partIsLive(part: ValuePart): boolean {
  if (part.kind === "scalar") return true;
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
