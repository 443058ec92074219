/**
 * Money without rounding, in picodollars. A price of whole microdollars per million tokens is the
 * same number of picodollars per token, so every product of tokens and price is a whole number,
 * and so is every sum. Rounding happens where an amount is printed, and nowhere else.
 */
import { z } from "zod";

/** 10^-12 dollars. */
export type Picodollars = bigint;

const DOLLAR_DECIMALS = 12;
const RATE_DECIMALS = 6;

/** What one token costs, in picodollars, by kind. Also what some tokens of each kind cost. */
export interface ByKind {
  readonly hit: Picodollars;
  readonly miss: Picodollars;
  readonly output: Picodollars;
}

/** Prompt tokens the cache answered, those it did not, and generated tokens. */
export interface BilledTokens {
  readonly hit: number;
  readonly miss: number;
  readonly output: number;
}

/** What `tokens` cost at picodollars per token. */
export function charge(tokens: BilledTokens, rates: ByKind): ByKind {
  return {
    hit: BigInt(tokens.hit) * rates.hit,
    miss: BigInt(tokens.miss) * rates.miss,
    output: BigInt(tokens.output) * rates.output,
  };
}

export const totalOf = ({ hit, miss, output }: ByKind): Picodollars => hit + miss + output;

/** Dollars as they are written, such as 0.14; undefined when that is not a whole amount. */
export function parseDollars(text: string): Picodollars | undefined {
  return parseDecimal(text, DOLLAR_DECIMALS);
}

/** Every digit an amount has: `87072`, `0.0000335`. */
export function exactDollars(amount: Picodollars): string {
  return formatDecimal(amount, DOLLAR_DECIMALS);
}

/** For people: `$87,072.00`, the last decimal rounded half away from zero. */
export function roundedDollars(amount: Picodollars, decimals: number): string {
  const unit = 10n ** BigInt(DOLLAR_DECIMALS - decimals);
  const magnitude = amount < 0n ? -amount : amount;
  const digits = String((magnitude + unit / 2n) / unit).padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals).replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = decimals === 0 ? "" : `.${digits.slice(-decimals)}`;
  return `${amount < 0n ? "-" : ""}$${whole}${fraction}`;
}

/** Dollars per million tokens in JSON, picodollars per token here. */
export const rate = z.codec(z.union([z.string(), z.number()]), z.bigint(), {
  decode: (written, context) => {
    const parsed = parseDecimal(String(written), RATE_DECIMALS);
    if (parsed !== undefined) return parsed;
    const message = `expected dollars per million tokens, at most ${RATE_DECIMALS} decimals`;
    context.issues.push({ code: "custom", message, input: written });
    return z.NEVER;
  },
  encode: (picodollars) => formatDecimal(picodollars, RATE_DECIMALS),
});

/** Picodollars, as a string in JSON: a number would lose digits above 2^53. */
export const picodollars = z.codec(z.string().regex(/^\d+$/, "expected picodollars"), z.bigint(), {
  decode: (digits) => BigInt(digits),
  encode: String,
});

/** A decimal number in units of 10^-decimals; undefined when it is none or has more decimals. */
function parseDecimal(text: string, decimals: number): bigint | undefined {
  const [, whole, fraction = ""] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  if (whole === undefined || fraction.length > decimals) return undefined;
  return BigInt(whole + fraction.padEnd(decimals, "0"));
}

/** The inverse, without needless zeros. */
function formatDecimal(value: bigint, decimals: number): string {
  const sign = value < 0n ? "-" : "";
  const digits = String(value < 0n ? -value : value).padStart(decimals + 1, "0");
  const fraction = digits.slice(-decimals).replace(/0+$/, "");
  return sign + digits.slice(0, -decimals) + (fraction === "" ? "" : `.${fraction}`);
}
