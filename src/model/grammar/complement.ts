/** What a shape is not. */
import { GrammarError } from "./errors.ts";
import type { Expressions } from "./expressions.ts";
import { decimalOf } from "./number.ts";
import type { SchemaPlaces } from "./schema-places.ts";
import {
  anyArray,
  anyNumber,
  anyObject,
  anyString,
  type ArrayPart,
  noType,
  type NumberPart,
  type ObjectPart,
  type Placed,
  type Shape,
  type StringPart,
} from "./shapes.ts";

/**
 * All values that do not have a shape.
 * @throws GrammarError when shapes cannot say it
 */
export function complementOf(
  shape: Shape,
  path: string,
  expressions: Expressions,
  places: SchemaPlaces,
): Shape[] {
  const numbers = shape.number ? numbersBeside(shape.number, path) : [anyNumber];
  const arrays = shape.array ? arraysBeside(shape.array, path, places) : [anyArray];
  const objects = shape.object ? objectsBeside(shape.object, path, places) : [anyObject];
  const strings = shape.string ? stringsBeside(shape.string, expressions) : [anyString];
  const booleans = [false, true].filter((each) => !shape.booleans.includes(each));
  return [
    ...(shape.null ? [] : [{ ...noType, null: true }]),
    ...(booleans.length > 0 ? [{ ...noType, booleans }] : []),
    ...numbers.map((number) => ({ ...noType, number })),
    ...strings.map((string) => ({ ...noType, string })),
    ...arrays.map((array) => ({ ...noType, array })),
    ...objects.map((object) => ({ ...noType, object })),
  ];
}

function numbersBeside(part: NumberPart, path: string): NumberPart[] {
  const { min, max, overMin, underMax, step, not, only, fractional } = part;
  if (not.length > 0)
    throw new GrammarError(`${path}: numbers that are not others cannot be negated`);
  const beside: NumberPart[] = [];
  if (only) beside.push({ not: only.map(decimalOf) });
  if (min) beside.push({ max: min, underMax: !overMin, not: [] });
  if (max) beside.push({ min: max, overMin: !underMax, not: [] });
  if (fractional) beside.push({ step: decimalOf(1), not: [] });
  if (step) {
    const isOne = step.digits === 10n ** BigInt(step.scale);
    if (!isOne) throw new GrammarError(`${path}: multipleOf cannot be negated`);
    beside.push({ fractional: true, not: [] });
  }
  return beside;
}

function stringsBeside({ min, max, like }: StringPart, expressions: Expressions): StringPart[] {
  return [
    ...(min > 0 ? [{ ...anyString, max: min - 1 }] : []),
    ...(max < Infinity ? [{ ...anyString, min: max + 1 }] : []),
    ...like.map((each) => ({ ...anyString, like: [expressions.complement(each)] })),
  ];
}

function arraysBeside(part: ArrayPart, path: string, places: SchemaPlaces): ArrayPart[] {
  const { rules, min, max, contains, uniqueAt } = part;
  if (uniqueAt !== undefined) throw new GrammarError(`${uniqueAt}: cannot be negated`);
  const beside: ArrayPart[] = [];
  if (min > 0) beside.push({ ...anyArray, max: min - 1 });
  if (max < Infinity) beside.push({ ...anyArray, min: max + 1 });
  for (const { item, min: least, max: most } of contains) {
    if (least > 0) beside.push({ ...anyArray, contains: [{ item, min: 0, max: least - 1 }] });
    if (most < Infinity) {
      beside.push({ ...anyArray, contains: [{ item, min: most + 1, max: Infinity }] });
    }
  }
  for (const { first, rest } of rules) {
    for (const [i, item] of first.entries()) {
      if (item === places.any) continue;
      const before = first.slice(0, i).map(() => places.any);
      const rule = { first: [...before, places.not(item)], rest: places.any };
      beside.push({ ...anyArray, rules: [rule], min: i + 1 });
    }
    if (rest === places.any) continue;
    if (first.length > 0 && rest !== places.none) {
      throw new GrammarError(`${path}: items after others cannot be negated`);
    }
    if (rest === places.none) beside.push({ ...anyArray, min: first.length + 1 });
    else {
      const item = places.not(rest);
      beside.push({ ...anyArray, contains: [{ item, min: 1, max: Infinity }] });
    }
  }
  return beside;
}

function objectsBeside(part: ObjectPart, path: string, places: SchemaPlaces): ObjectPart[] {
  const { rules, names, required, min, max, minAt } = part;
  if (names.length > 0) throw new GrammarError(`${path}: propertyNames cannot be negated`);
  const beside: ObjectPart[] = [];
  const ruleOf = (name: string, value: Placed) => ({
    ...{ properties: new Map([[name, value]]), patterns: [], additional: places.any },
  });
  for (const name of required) beside.push({ ...anyObject, rules: [ruleOf(name, places.none)] });
  if (min > 0) beside.push({ ...anyObject, max: min - 1 });
  if (max < Infinity) beside.push({ ...anyObject, min: max + 1, minAt });
  for (const { properties, patterns, additional } of rules) {
    if (additional !== places.any || patterns.some(({ value }) => value !== places.any)) {
      throw new GrammarError(
        `${path}: additionalProperties and patternProperties cannot be negated`,
      );
    }
    for (const [name, value] of properties) {
      if (value === places.any) continue;
      const rule = ruleOf(name, places.not(value));
      beside.push({ ...anyObject, rules: [rule], required: new Set([name]) });
    }
  }
  return beside;
}
