/**
 * JSON Schema (2020-12, and what draft 7 has else) as unions of shapes. What a shape cannot say is
 * refused by the keyword's name; `format` is an annotation, as the specification has it.
 */
import { complementOf } from "./complement.ts";
import { type Effort, GrammarError } from "./errors.ts";
import type { Expressions } from "./expressions.ts";
import type { JsonText } from "./json-text.ts";
import { decimalOf } from "./number.ts";
import { patternExpression } from "./pattern.ts";
import { SchemaKeywords } from "./schema-keywords.ts";
import { SchemaPlaces } from "./schema-places.ts";
import {
  anyArray,
  anyNumber,
  anyObject,
  anyString,
  anything,
  intersection,
  noType,
  type ObjectPart,
  type Placed,
  product,
  type Shape,
} from "./shapes.ts";

/** Of which nothing here could be followed. */
const unsupported = ["$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties"];
const MOST_SHAPES = 2000;
/** Doubles tell whole numbers apart up to here. */
const LARGEST_BOUND = 1e15;

export class SchemaReader {
  readonly places: SchemaPlaces;
  readonly #expressions: Expressions;
  readonly #json: JsonText;
  readonly #effort: Effort;
  readonly #read = new Map<Placed, readonly Shape[] | "reading">();

  constructor(root: Placed["schema"], expressions: Expressions, json: JsonText, effort: Effort) {
    this.places = new SchemaPlaces(root);
    this.#expressions = expressions;
    this.#json = json;
    this.#effort = effort;
  }

  /** What holds where all of these schemas do. */
  shapesOf(all: readonly Placed[]): readonly Shape[] {
    return all.reduce<readonly Shape[]>(
      (shapes, each) => this.#bounded(product(shapes, this.#shapes(each)), each.path),
      [anything],
    );
  }

  #shapes(placed: Placed): readonly Shape[] {
    const known = this.#read.get(placed);
    if (known === "reading") throw new GrammarError(`${placed.path}: refers to itself`);
    if (known) return known;
    this.#read.set(placed, "reading");
    const { schema, path } = placed;
    const shapes =
      typeof schema === "boolean"
        ? schema
          ? [anything]
          : []
        : this.#shapesOfKeywords(
            new SchemaKeywords(schema, path, (inner, at) => this.places.place(inner, at)),
          );
    this.#read.set(placed, shapes);
    return shapes;
  }

  #shapesOfKeywords(keywords: SchemaKeywords): readonly Shape[] {
    for (const name of unsupported) {
      if (keywords.has(name)) throw keywords.problem(name, "is not supported");
    }
    const target = keywords.text("$ref");
    const referred = target === undefined ? [] : [this.places.find(target, keywords.path)];
    if (target !== undefined && this.places.refStandsAlone) return this.shapesOf(referred);
    let shapes: readonly Shape[] = [this.#ownShape(keywords)];
    const and = (more: readonly Shape[]) => {
      shapes = this.#bounded(product(shapes, more), keywords.path);
    };
    const values = this.#listed(keywords);
    if (values) and(values);
    if (referred.length > 0) and(this.shapesOf(referred));
    and(this.shapesOf(keywords.schemas("allOf") ?? []));
    const anyOf = keywords.schemas("anyOf");
    if (anyOf) and(anyOf.flatMap((each) => this.#shapes(each)));
    const oneOf = keywords.schemas("oneOf");
    if (oneOf) and(this.#exactlyOne(oneOf));
    const not = keywords.schema("not");
    if (not) and(this.#not(not));
    and(this.#conditional(keywords));
    for (const [name, needed] of this.#dependent(keywords)) {
      const without = { properties: { [name]: false } };
      const absent = this.#shapes(this.places.place(without, keywords.path));
      and([...absent, ...this.shapesOf([needed])]);
    }
    return shapes;
  }

  /** `const` and `enum`. */
  #listed(keywords: SchemaKeywords): Shape[] | undefined {
    const listed = keywords.list("enum");
    const constant = keywords.value("const");
    const all = [...(listed ? [listed] : []), ...(keywords.has("const") ? [[constant]] : [])].map(
      (values) => values.flatMap((value) => this.#shapesOfValue(value, keywords.path)),
    );
    if (all.length === 0) return undefined;
    return all.reduce(product).length === 0
      ? []
      : mergedScalars(all.reduce(product), this.#expressions);
  }

  #shapesOfValue(value: unknown, path: string): Shape[] {
    this.#effort.spend(10);
    if (value === null) return [{ ...noType, null: true }];
    if (typeof value === "boolean") return [{ ...noType, booleans: [value] }];
    if (typeof value === "number") return [{ ...noType, number: { not: [], only: [value] } }];
    if (typeof value === "string") {
      return [{ ...noType, string: { ...anyString, like: [this.#json.literal(value)] } }];
    }
    const constant = (inner: unknown) => ({ const: inner });
    const schema = Array.isArray(value)
      ? {
          ...{ type: "array", prefixItems: value.map(constant), items: false },
          minItems: value.length,
        }
      : {
          ...{
            type: "object",
            required: Object.keys(value as object),
            additionalProperties: false,
          },
          properties: Object.fromEntries(
            Object.entries(value as object).map(([name, inner]) => [name, constant(inner)]),
          ),
        };
    return [...this.#shapes(this.places.place(schema, path))];
  }

  /** What type, bounds and members say. */
  #ownShape(keywords: SchemaKeywords): Shape {
    const shape: Shape = {
      ...anything,
      number: this.#number(keywords),
      string: this.#string(keywords),
      array: this.#array(keywords),
      object: this.#object(keywords),
    };
    const type = keywords.value("type");
    if (type === undefined) return shape;
    const types = Array.isArray(type) ? type : [type];
    return intersection(shape, this.#ofTypes(types, keywords));
  }

  #ofTypes(types: readonly unknown[], keywords: SchemaKeywords): Shape {
    const known = ["null", "boolean", "integer", "number", "string", "array", "object"];
    const foreign = types.find((type) => !known.includes(type as string));
    if (foreign !== undefined) {
      throw keywords.problem(
        "type",
        `expected ${known.join(", ")}, got ${JSON.stringify(foreign)}`,
      );
    }
    const whole = { ...anyNumber, step: decimalOf(1) };
    return {
      null: types.includes("null"),
      booleans: types.includes("boolean") ? [false, true] : [],
      number: types.includes("number") ? anyNumber : types.includes("integer") ? whole : undefined,
      string: types.includes("string") ? anyString : undefined,
      array: types.includes("array") ? anyArray : undefined,
      object: types.includes("object") ? anyObject : undefined,
    };
  }

  #number(keywords: SchemaKeywords): Shape["number"] {
    const bound = (name: string) => {
      const value = keywords.value(name) === true ? undefined : keywords.number(name);
      if (value !== undefined && Math.abs(value) >= LARGEST_BOUND) {
        throw keywords.problem(name, `expected a bound below ${LARGEST_BOUND}, got ${value}`);
      }
      return value === undefined || keywords.value(name) === false ? undefined : value;
    };
    const step = bound("multipleOf");
    if (step !== undefined && step <= 0)
      throw keywords.problem("multipleOf", "expected more than 0");
    const part = (limits: object): Shape => ({ ...noType, number: { not: [], ...limits } });
    const parts: Shape[] = [part(step === undefined ? {} : { step: decimalOf(step) })];
    for (const name of ["minimum", "exclusiveMinimum"]) {
      const min = bound(name);
      if (min !== undefined) parts.push(part({ min: decimalOf(min), overMin: name !== "minimum" }));
    }
    for (const name of ["maximum", "exclusiveMaximum"]) {
      const max = bound(name);
      if (max !== undefined)
        parts.push(part({ max: decimalOf(max), underMax: name !== "maximum" }));
    }
    return parts.reduce(intersection).number;
  }

  #string(keywords: SchemaKeywords): Shape["string"] {
    const pattern = keywords.text("pattern");
    const options = { spelling: "json", whole: false, path: `${keywords.path}/pattern` } as const;
    return {
      min: keywords.count("minLength") ?? 0,
      max: keywords.count("maxLength") ?? Infinity,
      like: pattern === undefined ? [] : [patternExpression(this.#expressions, pattern, options)],
    };
  }

  #array(keywords: SchemaKeywords): Shape["array"] {
    const items = keywords.value("items");
    const first = keywords.schemas(Array.isArray(items) ? "items" : "prefixItems") ?? [];
    const rest = Array.isArray(items)
      ? keywords.schema("additionalItems")
      : keywords.schema("items");
    const contained = keywords.schema("contains");
    const contains = contained && {
      item: contained,
      min: keywords.count("minContains") ?? 1,
      max: keywords.count("maxContains") ?? Infinity,
    };
    return {
      rules: first.length > 0 || rest ? [{ first, rest: rest ?? this.places.any }] : [],
      min: keywords.count("minItems") ?? 0,
      max: keywords.count("maxItems") ?? Infinity,
      contains: contains ? [contains] : [],
      uniqueAt: keywords.value("uniqueItems") === true ? `${keywords.path}/uniqueItems` : undefined,
    };
  }

  #object(keywords: SchemaKeywords): ObjectPart {
    const properties = keywords.schemasByName("properties");
    const patterns = [...keywords.schemasByName("patternProperties")].map(([pattern, value]) => ({
      names: patternExpression(this.#expressions, pattern, {
        ...({ spelling: "json", whole: false } as const),
        path: `${keywords.path}/patternProperties`,
      }),
      value,
    }));
    const additional = keywords.schema("additionalProperties");
    const names = keywords.schema("propertyNames");
    const rules = properties.size > 0 || patterns.length > 0 || additional !== undefined;
    return {
      rules: rules ? [{ properties, patterns, additional: additional ?? this.places.any }] : [],
      names: names ? [names] : [],
      required: new Set(keywords.texts("required")),
      min: keywords.count("minProperties") ?? 0,
      max: keywords.count("maxProperties") ?? Infinity,
      minAt: `${keywords.path}/minProperties`,
    };
  }

  #exactlyOne(schemas: readonly Placed[]): Shape[] {
    return schemas.flatMap((one, place) => {
      const others = schemas.filter((other, i) => i !== place && !this.#areApart(one, other));
      const alone = others.map((other) => this.#not(other));
      return alone.reduce<readonly Shape[]>(
        (shapes, other) => this.#bounded(product(shapes, other), one.path),
        this.#shapes(one),
      );
    });
  }

  #conditional(keywords: SchemaKeywords): readonly Shape[] {
    const condition = keywords.schema("if");
    const yes = keywords.schema("then");
    const no = keywords.schema("else");
    if (!condition || (!yes && !no)) return [anything];
    const holds = this.shapesOf(yes ? [condition, yes] : [condition]);
    return [...holds, ...product(this.#not(condition), this.shapesOf(no ? [no] : []))];
  }

  /** Members' names, and what must hold where there are such members. */
  #dependent(keywords: SchemaKeywords): (readonly [string, Placed])[] {
    const lists = ["dependentRequired", "dependencies"].flatMap((name) =>
      keywords.namesByName(name),
    );
    const needed = lists.map(
      ([name, required]) => [name, this.places.place({ required }, keywords.path)] as const,
    );
    const listed = new Set(keywords.namesByName("dependencies").map(([name]) => name));
    const schemas = ["dependentSchemas", "dependencies"].flatMap((keyword) =>
      keywords.has(keyword) ? [...keywords.schemasByName(keyword, listed)] : [],
    );
    return [...needed, ...schemas];
  }

  #not(placed: Placed): readonly Shape[] {
    return this.#shapes(placed).reduce<readonly Shape[]>(
      (shapes, shape) =>
        this.#bounded(
          product(shapes, complementOf(shape, placed.path, this.#expressions, this.places)),
          placed.path,
        ),
      [anything],
    );
  }

  /** Whether it is plain that no value is both. */
  #areApart(a: Placed, b: Placed): boolean {
    return product(this.#shapes(a), this.#shapes(b)).every((shape) => this.#isEmpty(shape, 2));
  }

  #isEmpty(shape: Shape, depth: number): boolean {
    const { null: isNull, booleans, number, string, array, object } = shape;
    if (isNull || booleans.length > 0 || array) return false;
    if (string && this.#expressions.isLive(this.#expressions.intersection(...string.like)))
      return false;
    if (number && number.only?.length !== 0) return false;
    if (!object) return true;
    if (depth === 0) return false;
    return [...object.required].some((name) => {
      const values = object.rules.map(
        ({ properties, additional, patterns }) =>
          properties.get(name) ?? (patterns.length > 0 ? this.places.any : additional),
      );
      return this.shapesOf(values).every((each) => this.#isEmpty(each, depth - 1));
    });
  }

  #bounded(shapes: readonly Shape[], path: string): readonly Shape[] {
    this.#effort.spend(shapes.length);
    if (shapes.length <= MOST_SHAPES) return shapes;
    throw new GrammarError(`${path}: has more than ${MOST_SHAPES} alternatives`);
  }
}

/** Values without members of their own as one shape. */
function mergedScalars(shapes: readonly Shape[], expressions: Expressions): Shape[] {
  const scalars = shapes.filter(({ array, object }) => !array && !object);
  const texts = scalars.flatMap(({ string }) =>
    string ? [expressions.intersection(...string.like)] : [],
  );
  const numbers = scalars.flatMap(({ number }) => number?.only ?? []);
  const merged: Shape = {
    ...noType,
    null: scalars.some((shape) => shape.null),
    booleans: [...new Set(scalars.flatMap(({ booleans }) => booleans))],
    number: numbers.length > 0 ? { not: [], only: [...new Set(numbers)] } : undefined,
    string: texts.length > 0 ? { ...anyString, like: [expressions.union(...texts)] } : undefined,
  };
  return [
    ...(scalars.length > 0 ? [merged] : []),
    ...shapes.filter((shape) => !scalars.includes(shape)),
  ];
}
