import { policies, type Policy } from "../kernels/index.ts";

/** A mistake on the command line: printed without a stack, exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** An option's text, given once; numbers are as they were typed. */
export function textOf(option: string, value: unknown): string {
  if (typeof value === "string" || typeof value === "number") return String(value);
  throw new UsageError(`--${option}: expected one value, got ${JSON.stringify(value)}`);
}

/** An option's text where it is given; `option` as it is typed. */
export function textIf(
  flags: Readonly<Record<string, unknown>>,
  option: string,
): string | undefined {
  const value = flags[option.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
  return value === undefined ? undefined : textOf(option, value);
}

type Present<Fields> = { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };

/** Of these fields the ones that are there. */
export function present<Fields extends object>(fields: Fields): Present<Fields> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Present<Fields>;
}

/** One of a list. */
export function oneOf<Name extends string | number>(
  option: string,
  value: unknown,
  names: readonly Name[],
): Name {
  const name = names.find((each) => each === value);
  if (name !== undefined) return name;
  const choices = names.join(", ").replace(/, ([^,]*)$/, " or $1");
  throw new UsageError(`--${option}: expected ${choices}, got ${String(value)}`);
}

/** Names as `a,b`, in small letters; none where the option is not given. */
export function namesOf(option: string, value: unknown): string[] {
  if (value === undefined) return [];
  return textOf(option, value)
    .split(",")
    .map((name) => name.trim().replace(/\/$/, "").toLowerCase());
}

export const policyHelp = `Precision: ${policies.join(", ")}`;

export function policyOf(value: unknown): Policy {
  return oneOf("policy", value, policies);
}

/** A number in a range, inclusive. */
export function numberOf(option: string, value: unknown, low: number, high: number): number {
  const number = typeof value === "string" && value.trim() === "" ? NaN : Number(value);
  if (!(number >= low && number <= high)) {
    throw new UsageError(
      `--${option}: expected a number from ${low} to ${high}, got ${String(value)}`,
    );
  }
  return number;
}

export function integerOf(option: string, value: unknown, low: number, high: number): number {
  const number = numberOf(option, value, low, high);
  if (!Number.isInteger(number)) {
    throw new UsageError(`--${option}: expected a whole number, got ${String(value)}`);
  }
  return number;
}

/** Whole numbers as `1,2,3`. */
export function integersOf(option: string, value: unknown, low: number, high: number): number[] {
  return textOf(option, value)
    .split(",")
    .map((part) => integerOf(option, part, low, high));
}

/** Token ids as `1,2,3`. */
export function tokensOf(value: unknown): number[] {
  return integersOf("tokens", value, 0, 2 ** 31 - 1);
}

const units: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** Bytes as `512M`, `4G`, `2T` or a plain number. */
export function bytesOf(option: string, value: unknown): number {
  const text = textOf(option, value);
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  if (!match) throw new UsageError(`--${option}: expected a size such as 512M or 4G, got ${text}`);
  return Math.floor(Number(match[1]) * units[match[2].toUpperCase()]);
}

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Milliseconds of `90s`, `15m`, `12h` or `7d`. */
export function durationOf(option: string, value: unknown): number {
  const text = textOf(option, value);
  const match = /^(\d+(?:\.\d+)?)\s*([smhd])$/i.exec(text.trim());
  if (!match) throw new UsageError(`--${option}: expected a time such as 12h or 7d, got ${text}`);
  return Number(match[1]) * seconds[match[2].toLowerCase()] * 1000;
}
