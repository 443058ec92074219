/** Jinja's filters, tests and globals, and the methods of Python's values that chat templates use. */
import {
  type Callable,
  type Dict,
  equals,
  isNumber,
  isTrue,
  Namespace,
  parseJson,
  toJson,
  toText,
  typeName,
  type Value,
} from "./jinja-values.ts";

type Method<Subject> = (subject: Subject, args: readonly Value[], keywords: Dict) => Value;

/** A template's own word that it does not say this. */
export class TemplateRefusal extends Error {}

const text = (value: Value): string => {
  if (typeof value !== "string") throw new TypeError(`expected a text, got ${typeName(value)}`);
  return value;
};
const whole = (value: Value): number => {
  if (typeof value !== "bigint") throw new TypeError(`expected a number, got ${typeName(value)}`);
  return Number(value);
};
const either = (value: Value): string[] => (Array.isArray(value) ? value.map(text) : [text(value)]);

/** The elements of a list, the keys of a dict, the characters of a text. */
export function iterate(value: Value): Value[] {
  if (Array.isArray(value)) return value;
  if (value instanceof Map) return [...value.keys()];
  if (typeof value === "string") return Array.from(value);
  if (value === undefined) return [];
  throw new TypeError(`expected a list, got ${typeName(value)}`);
}

const lengthOf = (value: Value) => BigInt(iterate(value).length);

/** Python's strip: white space, or any of the characters. */
function strip(subject: string, characters: Value, from: "both" | "start" | "end"): string {
  const any = characters === undefined || characters === null ? undefined : text(characters);
  const isStripped = (character: string) => any?.includes(character) ?? character.trim() === "";
  let start = 0;
  let end = subject.length;
  if (from !== "end") while (start < end && isStripped(subject[start])) start++;
  if (from !== "start") while (end > start && isStripped(subject[end - 1])) end--;
  return subject.slice(start, end);
}

function split(subject: string, separator: Value, limit: Value): string[] {
  const most = limit === undefined || whole(limit) < 0 ? Infinity : whole(limit);
  if (separator === undefined || separator === null) {
    const parts = subject.trim().split(/\s+/);
    return subject.trim() === "" ? [] : parts;
  }
  const parts = subject.split(text(separator));
  if (parts.length <= most + 1) return parts;
  return [...parts.slice(0, most), parts.slice(most).join(text(separator))];
}

const capitalized = (subject: string) =>
  subject.charAt(0).toUpperCase() + subject.slice(1).toLowerCase();

const textMethods: Record<string, Method<string>> = {
  strip: (subject, [characters]) => strip(subject, characters, "both"),
  lstrip: (subject, [characters]) => strip(subject, characters, "start"),
  rstrip: (subject, [characters]) => strip(subject, characters, "end"),
  split: (subject, [separator, limit]) => split(subject, separator, limit),
  splitlines: (subject) => subject.replace(/\r?\n$/, "").split(/\r?\n/),
  startswith: (subject, [start]) => either(start).some((each) => subject.startsWith(each)),
  endswith: (subject, [end]) => either(end).some((each) => subject.endsWith(each)),
  replace: (subject, [from, to, count]) => replaced(subject, text(from), text(to), count),
  find: (subject, [part]) => BigInt(subject.indexOf(text(part))),
  count: (subject, [part]) => BigInt(subject.split(text(part)).length - 1),
  join: (subject, [items]) => iterate(items).map(text).join(subject),
  upper: (subject) => subject.toUpperCase(),
  lower: (subject) => subject.toLowerCase(),
  capitalize: capitalized,
  title: (subject) => subject.replace(/\p{L}+/gu, capitalized),
  isdigit: (subject) => /^\d+$/.test(subject),
};

function replaced(subject: string, from: string, to: string, count: Value): string {
  const most = count === undefined ? Infinity : whole(count);
  const parts = subject.split(from);
  const head = parts.slice(0, most + 1).join(to);
  return parts.length <= most + 1 ? head : [head, ...parts.slice(most + 1)].join(from);
}

const dictMethods: Record<string, Method<Dict>> = {
  get: (dict, [key, otherwise = null]) => (dict.has(text(key)) ? dict.get(text(key)) : otherwise),
  items: (dict) => [...dict].map(([key, value]) => [key, value]),
  keys: (dict) => [...dict.keys()],
  values: (dict) => [...dict.values()],
  update: (dict, [other]) => {
    if (other instanceof Map) for (const [key, value] of other) dict.set(key, value);
    return null;
  },
};

const listMethods: Record<string, Method<Value[]>> = {
  append: (list, [item]) => {
    list.push(item);
    return null;
  },
  extend: (list, [items]) => {
    list.push(...iterate(items));
    return null;
  },
  insert: (list, [at, item]) => {
    list.splice(whole(at), 0, item);
    return null;
  },
  pop: (list, [at = -1n]) => {
    const index = whole(at);
    const [item] = list.splice(index < 0 ? list.length + index : index, 1);
    if (item === undefined) throw new RangeError("pop from an empty list");
    return item;
  },
  index: (list, [item]) => BigInt(list.findIndex((each) => equals(each, item))),
  count: (list, [item]) => BigInt(list.filter((each) => equals(each, item)).length),
};

/** The value's own function of the name. */
export function methodOf(subject: Value, name: string): Callable | undefined {
  const bind = <Subject>(methods: Record<string, Method<Subject>>, self: Subject) => {
    if (!Object.hasOwn(methods, name)) return undefined;
    return (args: readonly Value[], keywords: Dict) => methods[name](self, args, keywords);
  };
  if (typeof subject === "string") return bind(textMethods, subject);
  if (Array.isArray(subject)) return bind(listMethods, subject);
  return subject instanceof Map ? bind(dictMethods, subject) : undefined;
}

/** `a.b.0` inside a value. */
function attribute(value: Value, path: string): Value {
  return path.split(".").reduce<Value>((inner, name) => {
    if (Array.isArray(inner)) return inner[Number(name)];
    return inner instanceof Map ? inner.get(name) : undefined;
  }, value);
}

export function compare(left: Value, right: Value): number {
  if (isNumber(left) && isNumber(right)) return left < right ? -1 : left > right ? 1 : 0;
  const [a, b] = [text(left), text(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}

function sorted(value: Value, [reverse]: readonly Value[], keywords: Dict): Value[] {
  const path = keywords.get("attribute");
  const caseSensitive = isTrue(keywords.get("case_sensitive"));
  const key = (item: Value) => {
    const by = path === undefined ? item : attribute(item, text(path));
    return typeof by === "string" && !caseSensitive ? by.toLowerCase() : by;
  };
  const ordered = [...iterate(value)].sort((a, b) => compare(key(a), key(b)));
  return isTrue(reverse ?? keywords.get("reverse")) ? ordered.reverse() : ordered;
}

/** Whether a value passes the test, or is true where there is none. */
const isWanted = (value: Value, [name, argument]: readonly Value[]) =>
  name === undefined ? isTrue(value) : passes(text(name), value, argument);

const isAttributeWanted = (value: Value, [path, ...test]: readonly Value[]) =>
  isWanted(attribute(value, text(path)), test);

function jsonOf(value: Value, _: readonly Value[], keywords: Dict): string {
  const indent = keywords.get("indent");
  const separators = keywords.get("separators");
  return toJson(value, {
    indent: indent === undefined || indent === null ? undefined : whole(indent),
    asciiOnly: isTrue(keywords.get("ensure_ascii")),
    sortKeys: isTrue(keywords.get("sort_keys")),
    separators: Array.isArray(separators) ? [text(separators[0]), text(separators[1])] : undefined,
  });
}

function indented(value: Value, [width, first, blank]: readonly Value[], keywords: Dict): string {
  const by = width ?? keywords.get("width") ?? 4n;
  const padding = typeof by === "string" ? by : " ".repeat(whole(by));
  const isFirst = isTrue(first ?? keywords.get("first"));
  const isBlank = isTrue(blank ?? keywords.get("blank"));
  const line = (each: string, at: number) =>
    (at === 0 && !isFirst) || (each === "" && !isBlank) ? each : padding + each;
  return text(value).split("\n").map(line).join("\n");
}

const number = (value: Value, otherwise: Value): Value => {
  const read = typeof value === "string" ? Number(value) : isNumber(value) ? Number(value) : NaN;
  return Number.isNaN(read) ? otherwise : read;
};

const filters: Record<string, Method<Value>> = {
  tojson: jsonOf,
  from_json: (value) => parseJson(text(value)),
  string: toText,
  safe: (value) => value,
  length: lengthOf,
  count: lengthOf,
  list: (value) => [...iterate(value)],
  items: (value) => (value instanceof Map ? dictMethods.items(value, [], new Map()) : []),
  first: (value) => iterate(value)[0],
  last: (value) => iterate(value).at(-1),
  reverse: (value) =>
    typeof value === "string"
      ? Array.from(value).reverse().join("")
      : [...iterate(value)].reverse(),
  join: (value, [between = ""], keywords) => {
    const path = keywords.get("attribute");
    const items = iterate(value).map((item) => (path ? attribute(item, text(path)) : item));
    return items.map(toText).join(toText(keywords.get("d") ?? between));
  },
  default: (value, [otherwise = "", loose], keywords) =>
    value === undefined || (isTrue(loose ?? keywords.get("boolean")) && !isTrue(value))
      ? otherwise
      : value,
  trim: (value, [characters]) => strip(toText(value), characters, "both"),
  upper: (value) => toText(value).toUpperCase(),
  lower: (value) => toText(value).toLowerCase(),
  capitalize: (value) => capitalized(toText(value)),
  title: (value) => textMethods.title(toText(value), [], new Map()),
  replace: (value, args) => textMethods.replace(toText(value), args, new Map()),
  indent: indented,
  int: (value, [otherwise = 0n]) => {
    const read = number(value, otherwise);
    return typeof read === "number" ? BigInt(Math.trunc(read)) : read;
  },
  float: (value, [otherwise = 0]) => number(value, otherwise),
  abs: (value) =>
    typeof value === "bigint" ? (value < 0n ? -value : value) : Math.abs(Number(value)),
  sort: sorted,
  unique: (value) =>
    iterate(value).filter((item, at, all) => all.findIndex((each) => equals(each, item)) === at),
  dictsort: (value, args, keywords) =>
    sorted(filters.items(value, [], keywords), args, new Map([["attribute", "0"]])),
  map: (value, [name, ...args], keywords) => {
    const path = keywords.get("attribute");
    if (path === undefined)
      return iterate(value).map((item) => filter(text(name))(item, args, keywords));
    return iterate(value).map((item) => {
      const found = attribute(item, text(path));
      return found === undefined ? keywords.get("default") : found;
    });
  },
  selectattr: (value, args) => iterate(value).filter((item) => isAttributeWanted(item, args)),
  rejectattr: (value, args) => iterate(value).filter((item) => !isAttributeWanted(item, args)),
  select: (value, args) => iterate(value).filter((item) => isWanted(item, args)),
  reject: (value, args) => iterate(value).filter((item) => !isWanted(item, args)),
};
filters.d = filters.default;

/** @throws Error where Jinja has no filter of the name that chat templates use. */
export function filter(name: string): Method<Value> {
  if (Object.hasOwn(filters, name)) return filters[name];
  throw new Error(`no filter named ${name}`);
}

const tests: Record<string, (value: Value, argument: Value) => boolean> = {
  defined: (value) => value !== undefined,
  undefined: (value) => value === undefined,
  none: (value) => value === null,
  string: (value) => typeof value === "string",
  number: isNumber,
  integer: (value) => typeof value === "bigint",
  float: (value) => typeof value === "number",
  boolean: (value) => typeof value === "boolean",
  true: (value) => value === true,
  false: (value) => value === false,
  mapping: (value) => value instanceof Map,
  sequence: (value) => Array.isArray(value) || value instanceof Map || typeof value === "string",
  iterable: (value) => Array.isArray(value) || value instanceof Map || typeof value === "string",
  callable: (value) => typeof value === "function",
  odd: (value) => whole(value) % 2 !== 0,
  even: (value) => whole(value) % 2 === 0,
  lower: (value) => toText(value) === toText(value).toLowerCase(),
  upper: (value) => toText(value) === toText(value).toUpperCase(),
  in: (value, argument) => contains(argument, value),
  eq: equals,
  equalto: equals,
  ne: (value, argument) => !equals(value, argument),
};

/** @throws Error where Jinja has no test of the name. */
export function passes(name: string, value: Value, argument?: Value): boolean {
  if (Object.hasOwn(tests, name)) return tests[name](value, argument);
  throw new Error(`no test named ${name}`);
}

export function contains(container: Value, item: Value): boolean {
  if (typeof container === "string") return container.includes(text(item));
  if (container instanceof Map) return typeof item === "string" && container.has(item);
  return iterate(container).some((each) => equals(each, item));
}

function range(args: readonly Value[]): Value[] {
  const numbers = args.map(whole);
  const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]] : numbers;
  const length = Math.max(0, Math.ceil((stop - start) / step));
  return Array.from({ length }, (_, index) => BigInt(start + index * step));
}

/** What every template finds. */
export const globals: Dict = new Map<string, Value>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
  ["range", range],
  ["dict", (_, keywords) => new Map(keywords)],
  [
    "namespace",
    ([first], keywords) =>
      new Namespace(new Map([...(first instanceof Map ? first : []), ...keywords])),
  ],
  [
    "raise_exception",
    ([message]) => {
      throw new TemplateRefusal(toText(message));
    },
  ],
]);
