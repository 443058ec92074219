/** What Jinja's expressions are made of, as Python has it: whole numbers are bigint, others number; dicts keep their order. */

export type Value =
  | undefined
  | null
  | boolean
  | string
  | bigint
  | number
  | Value[]
  | Dict
  | Namespace
  | Loop
  | Callable;
export type Dict = Map<string, Value>;
export type Callable = (args: readonly Value[], keywords: Dict) => Value;

/** The one value whose attributes a template may set. */
export class Namespace {
  readonly names: Dict;

  constructor(names: Dict) {
    this.names = names;
  }
}

/** A loop's place, of which few templates ask much. */
export class Loop {
  readonly #items: readonly Value[];
  readonly #index: number;

  constructor(items: readonly Value[], index: number) {
    this.#items = items;
    this.#index = index;
  }

  get(name: string): Value {
    const { length } = this.#items;
    switch (name) {
      case "index":
        return BigInt(this.#index + 1);
      case "index0":
        return BigInt(this.#index);
      case "revindex":
        return BigInt(length - this.#index);
      case "revindex0":
        return BigInt(length - this.#index - 1);
      case "first":
        return this.#index === 0;
      case "last":
        return this.#index === length - 1;
      case "length":
        return BigInt(length);
      case "previtem":
        return this.#items[this.#index - 1];
      case "nextitem":
        return this.#items[this.#index + 1];
      default:
        return undefined;
    }
  }
}

/** What the request's JSON holds; numbers too large to be exact are not whole any more. */
export function toValue(json: unknown): Value {
  if (Array.isArray(json)) return json.map(toValue);
  if (typeof json === "number") return Number.isSafeInteger(json) ? BigInt(json) : json;
  if (typeof json === "object" && json !== null) {
    const entries = Object.entries(json).filter(([, child]) => child !== undefined);
    return new Map(entries.map(([key, child]) => [key, toValue(child)]));
  }
  return json as Value;
}

/** JSON's text with every digit of its numbers and its keys in their order. @throws SyntaxError */
export function parseJson(text: string): Value {
  JSON.parse(text);
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{}]|[^\s,:"[\]{}]+/g) ?? [];
  let at = 0;
  const read = (): Value => {
    const token = tokens[at++];
    if (token === "[") {
      const list: Value[] = [];
      while (tokens[at] !== "]") list.push(read());
      at++;
      return list;
    }
    if (token === "{") {
      const dict: Dict = new Map();
      while (tokens[at] !== "}") dict.set(read() as string, read());
      at++;
      return dict;
    }
    if (/^-?\d+$/.test(token)) return BigInt(token);
    return JSON.parse(token) as Value;
  };
  return read();
}

export function isTrue(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return value instanceof Map ? value.size > 0 : Boolean(value);
}

export const isNumber = (value: Value): value is bigint | number | boolean =>
  typeof value === "bigint" || typeof value === "number" || typeof value === "boolean";

export function equals(left: Value, right: Value): boolean {
  if (isNumber(left) && isNumber(right)) return Number(left) === Number(right) && same(left, right);
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((each, index) => equals(each, right[index]));
  }
  if (left instanceof Map && right instanceof Map) {
    const has = ([key, value]: [string, Value]) => right.has(key) && equals(value, right.get(key));
    return left.size === right.size && [...left].every(has);
  }
  return left === right;
}

const same = (left: bigint | number | boolean, right: bigint | number | boolean) =>
  typeof left !== "bigint" || typeof right !== "bigint" || left === right;

export function typeName(value: Value): string {
  if (value === undefined) return "an undefined value";
  if (value === null) return "None";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Map) return "a dict";
  if (typeof value === "object") return "a namespace";
  const names = {
    bigint: "a whole number",
    number: "a float",
    string: "a text",
    boolean: "a bool",
  };
  return names[typeof value as keyof typeof names] ?? "a function";
}

/** As Python prints it. */
export function toText(value: Value): string {
  return typeof value === "string" ? value : value === undefined ? "" : represent(value);
}

function represent(value: Value): string {
  if (typeof value === "string") return representText(value);
  if (typeof value === "number") return floatText(value);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(represent).join(", ")}]`;
  if (value instanceof Map) {
    return `{${[...value].map(([key, each]) => `${represent(key)}: ${represent(each)}`).join(", ")}}`;
  }
  return typeof value === "bigint" ? String(value) : `<${typeName(value)}>`;
}

function representText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const named: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
  const escaped = text.replace(/[\\'"\p{Cc}]/gu, (character) => {
    if (character === "'" || character === '"')
      return character === quote ? `\\${quote}` : character;
    const code = character.charCodeAt(0).toString(16).padStart(2, "0");
    return named[character] ?? `\\x${code}`;
  });
  return quote + escaped + quote;
}

function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const [digits, exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  const text = Object.is(value, -0) ? "-0" : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

export interface JsonStyle {
  readonly indent?: number | undefined;
  readonly asciiOnly?: boolean;
  readonly sortKeys?: boolean;
  readonly separators?: readonly [item: string, key: string] | undefined;
}

/** As Python's json.dumps writes it. */
export function toJson(value: Value, style: JsonStyle = {}, depth = 0): string {
  if (typeof value === "string") return style.asciiOnly ? asciiJson(value) : JSON.stringify(value);
  if (typeof value === "number") return floatText(value);
  const inner = (child: Value) => toJson(child, style, depth + 1);
  if (Array.isArray(value)) return bracketed("[", value.map(inner), "]", style, depth);
  if (value instanceof Map) {
    const [, colon] = separatorsOf(style);
    const entries = style.sortKeys ? [...value].sort(([a], [b]) => (a < b ? -1 : 1)) : [...value];
    const members = entries.map(([key, child]) => `${inner(key)}${colon}${inner(child)}`);
    return bracketed("{", members, "}", style, depth);
  }
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (value === null || value === undefined) return "null";
  throw new TypeError(`${typeName(value)} is no JSON`);
}

const separatorsOf = ({ indent, separators }: JsonStyle) =>
  separators ?? [indent === undefined ? ", " : ",", ": "];

function bracketed(
  open: string,
  items: readonly string[],
  close: string,
  style: JsonStyle,
  depth: number,
): string {
  const [comma] = separatorsOf(style);
  if (style.indent === undefined || items.length === 0) return open + items.join(comma) + close;
  const line = (level: number) => `\n${" ".repeat((style.indent ?? 0) * level)}`;
  return open + line(depth + 1) + items.join(comma + line(depth + 1)) + line(depth) + close;
}

const asciiJson = (text: string) =>
  JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
