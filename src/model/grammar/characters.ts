/** Sets of characters as byte expressions: in UTF-8, as they are or as they stand in a JSON string. */
import type { Expression, Expressions } from "./expressions.ts";

/** Code points from the first to the last. */
export type Range = readonly [first: number, last: number];

export const LAST_CODE_POINT = 0x10ffff;
/** Halves of surrogate pairs are no characters. */
const SURROGATES: Range = [0xd800, 0xdfff];

/** How a character is spelled. */
export type Spelling = "raw" | "json";

/** Ascending ranges that do not touch. */
export function united(ranges: readonly Range[]): Range[] {
  const out: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = out.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else out.push([first, last]);
  }
  return out;
}

/** All other characters. */
export function others(ranges: readonly Range[]): Range[] {
  const out: Range[] = [];
  let next = 0;
  for (const [first, last] of united(ranges)) {
    if (first > next) out.push([next, first - 1]);
    next = last + 1;
  }
  return next > LAST_CODE_POINT ? out : [...out, [next, LAST_CODE_POINT]];
}

/** One of these characters; in JSON's spelling the one that JSON.stringify writes. */
export function characterOf(
  expressions: Expressions,
  ranges: readonly Range[],
  spelling: Spelling,
): Expression {
  const escaped: Range[] =
    spelling === "raw"
      ? []
      : [
          [0, 0x1f],
          [0x22, 0x22],
          [0x5c, 0x5c],
        ];
  const plain = others([...others(ranges), ...escaped, SURROGATES]);
  const parts = plain.flatMap((range) => utf8(expressions, range));
  for (const [first, last] of escaped) {
    for (let code = first; code <= last; code++) {
      if (!ranges.some(([a, b]) => a <= code && code <= b)) continue;
      const written = JSON.stringify(String.fromCodePoint(code)).slice(1, -1);
      parts.push(expressions.text(written));
    }
  }
  return expressions.union(...parts);
}

/** The longest code points of each length in UTF-8. */
const ENDS = [0x7f, 0x7ff, 0xffff, LAST_CODE_POINT];

function utf8(expressions: Expressions, [first, last]: Range): Expression[] {
  const out: Expression[] = [];
  let next = first;
  for (const end of ENDS) {
    if (next > last) break;
    if (next > end) continue;
    const upTo = Math.min(last, end);
    out.push(between(expressions, bytesOf(next), bytesOf(upTo)));
    next = upTo + 1;
  }
  return out;
}

const bytesOf = (code: number): number[] => [...Buffer.from(String.fromCodePoint(code))];

/** Sequences of one length, byte by byte from `low` up to `high`. */
function between(
  expressions: Expressions,
  low: readonly number[],
  high: readonly number[],
): Expression {
  const [first, ...lowRest] = low;
  const [last, ...highRest] = high;
  if (lowRest.length === 0) return expressions.range(first, last);
  const least = lowRest.map(() => 0x80);
  const most = lowRest.map(() => 0xbf);
  const from = (byte: number, lowest: readonly number[], highest: readonly number[], upTo = byte) =>
    expressions.sequence(expressions.range(byte, upTo), between(expressions, lowest, highest));
  if (first === last) return from(first, lowRest, highRest);
  const parts = [from(first, lowRest, most), from(last, least, highRest)];
  if (last - first > 1) parts.push(from(first + 1, least, most, last - 1));
  return expressions.union(...parts);
}
