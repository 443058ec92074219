/**
 * What a JSON value may be, by its type. A schema is a union of shapes; two shapes hold together if
 * each type's parts do.
 */
import type { Expression } from "./expressions.ts";
import { commonStep, type Decimal, type NumberBounds } from "./number.ts";

export interface Shape {
  readonly null: boolean;
  readonly booleans: readonly boolean[];
  readonly number: NumberPart | undefined;
  readonly string: StringPart | undefined;
  readonly array: ArrayPart | undefined;
  readonly object: ObjectPart | undefined;
}

/** A schema and where it stands; the same schema is always the same. */
export interface Placed {
  readonly schema: boolean | Readonly<Record<string, unknown>>;
  readonly path: string;
}

export interface NumberPart extends NumberBounds {
  /** It is one of these. */
  readonly only?: readonly number[];
}

export interface StringPart {
  readonly min: number;
  readonly max: number;
  /** All of them hold of its characters, as JSON.stringify writes them. */
  readonly like: readonly Expression[];
}

export interface ArrayPart {
  readonly rules: readonly { readonly first: readonly Placed[]; readonly rest: Placed }[];
  readonly min: number;
  readonly max: number;
  readonly contains: readonly Contains[];
  /** Where it says that no two items are equal. */
  readonly uniqueAt: string | undefined;
}

export interface Contains {
  readonly item: Placed;
  readonly min: number;
  readonly max: number;
}

export interface ObjectPart {
  readonly rules: readonly MemberRule[];
  readonly names: readonly Placed[];
  readonly required: ReadonlySet<string>;
  readonly min: number;
  readonly max: number;
  /** Where `min` is said. */
  readonly minAt: string;
}

export interface MemberRule {
  readonly properties: ReadonlyMap<string, Placed>;
  readonly patterns: readonly NamePattern[];
  readonly additional: Placed;
}

export interface NamePattern {
  /** Of names' characters. */
  readonly names: Expression;
  readonly value: Placed;
}

export const anyNumber: NumberPart = { not: [] };
export const anyString: StringPart = { min: 0, max: Infinity, like: [] };
export const anyArray: ArrayPart = {
  ...{ rules: [], min: 0, max: Infinity, contains: [], uniqueAt: undefined },
};
export const anyObject: ObjectPart = {
  ...{ rules: [], names: [], required: new Set(), min: 0, max: Infinity, minAt: "" },
};
export const anything: Shape = {
  ...{ null: true, booleans: [false, true] },
  ...{ number: anyNumber, string: anyString, array: anyArray, object: anyObject },
};
export const noType: Shape = {
  ...{ null: false, booleans: [] },
  ...{ number: undefined, string: undefined, array: undefined, object: undefined },
};

export function intersection(a: Shape, b: Shape): Shape {
  return {
    null: a.null && b.null,
    booleans: a.booleans.filter((each) => b.booleans.includes(each)),
    number: both(a.number, b.number, bothNumbers),
    string: both(a.string, b.string, (x, y) => ({
      ...range(x, y),
      like: [...new Set([...x.like, ...y.like])],
    })),
    array: both(a.array, b.array, (x, y) => ({
      ...range(x, y),
      rules: [...x.rules, ...y.rules],
      contains: [...x.contains, ...y.contains],
      uniqueAt: x.uniqueAt ?? y.uniqueAt,
    })),
    object: both(a.object, b.object, (x, y) => ({
      ...range(x, y),
      rules: [...x.rules, ...y.rules],
      names: [...x.names, ...y.names],
      required: new Set([...x.required, ...y.required]),
      minAt: x.min > y.min ? x.minAt : y.minAt,
    })),
  };
}

/** Each of some shapes with each of others. */
export const product = (a: readonly Shape[], b: readonly Shape[]): Shape[] =>
  a.flatMap((x) => b.map((y) => intersection(x, y)));

function both<Part>(
  a: Part | undefined,
  b: Part | undefined,
  join: (a: Part, b: Part) => Part | undefined,
): Part | undefined {
  return a && b && join(a, b);
}

interface Span {
  readonly min: number;
  readonly max: number;
}

const range = (a: Span, b: Span): Span => ({
  min: Math.max(a.min, b.min),
  max: Math.min(a.max, b.max),
});

function bothNumbers(a: NumberPart, b: NumberPart): NumberPart | undefined {
  const fractional = a.fractional || b.fractional;
  const step = a.step && b.step ? commonStep(a.step, b.step) : (a.step ?? b.step);
  const only =
    a.only && b.only ? a.only.filter((each) => b.only?.includes(each)) : (a.only ?? b.only);
  const lower =
    b.min && (!a.min || compare(b.min, a.min) > 0 || (compare(b.min, a.min) === 0 && b.overMin))
      ? b
      : a;
  const upper =
    b.max && (!a.max || compare(b.max, a.max) < 0 || (compare(b.max, a.max) === 0 && b.underMax))
      ? b
      : a;
  return {
    ...(lower.min && { min: lower.min, overMin: lower.overMin ?? false }),
    ...(upper.max && { max: upper.max, underMax: upper.underMax ?? false }),
    ...(step && { step }),
    ...(only && { only }),
    ...(fractional && { fractional }),
    not: [...a.not, ...b.not],
  };
}

function compare(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale);
  const of = (x: Decimal) => x.digits * 10n ** BigInt(scale - x.scale);
  const difference = of(a) - of(b);
  return difference < 0n ? -1 : Number(difference > 0n);
}
