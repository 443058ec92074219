/** Regular expressions as ECMAScript writes them, as far as they are regular. */
import { characterOf, others, type Range, type Spelling, united } from "./characters.ts";
import { GrammarError } from "./errors.ts";
import type { Expression, Expressions } from "./expressions.ts";

interface PatternOptions {
  readonly spelling: Spelling;
  /** Whether the text as a whole must match; else any part of it may. */
  readonly whole: boolean;
  /** Of the pattern, for messages. */
  readonly path: string;
}

/** The texts that match a pattern. @throws GrammarError for what is no regular expression known here. */
export function patternExpression(
  expressions: Expressions,
  pattern: string,
  options: PatternOptions,
): Expression {
  return new PatternReader(expressions, pattern, options).read();
}

const DIGITS: Range[] = [[0x30, 0x39]];
const WORD: Range[] = [...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACES: Range[] = [
  ...([
    [9, 13],
    [32, 32],
    [0xa0, 0xa0],
    [0x1680, 0x1680],
    [0x2000, 0x200a],
  ] as Range[]),
  ...([
    [0x2028, 0x2029],
    [0x202f, 0x202f],
    [0x205f, 0x205f],
    [0x3000, 0x3000],
  ] as Range[]),
  [0xfeff, 0xfeff],
];
const LINE_ENDS: Range[] = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0 };
const MOST_REPEATS = 10_000;

class PatternReader {
  readonly #expressions: Expressions;
  readonly #pattern: readonly string[];
  readonly #options: PatternOptions;
  #at = 0;
  #depth = 0;

  constructor(expressions: Expressions, pattern: string, options: PatternOptions) {
    this.#expressions = expressions;
    this.#pattern = Array.from(pattern);
    this.#options = options;
  }

  read(): Expression {
    const expression = this.#alternatives();
    if (this.#at < this.#pattern.length) throw this.#problem("an unmatched )");
    return expression;
  }

  /** Outermost alternatives may have anything before and after them where they are not anchored. */
  #alternatives(): Expression {
    const outermost = this.#depth === 0;
    const parts = [this.#alternative(outermost)];
    while (this.#take("|")) parts.push(this.#alternative(outermost));
    return this.#expressions.union(...parts);
  }

  #alternative(outermost: boolean): Expression {
    const { whole } = this.#options;
    const begins = outermost && this.#take("^");
    const parts: Expression[] = [];
    let ends = false;
    for (let next; (next = this.#peek()) !== undefined && next !== "|" && next !== ")";) {
      if (ends) throw this.#problem("$ anywhere but at the end");
      if (next === "^") throw this.#problem("^ anywhere but at the beginning");
      if (next === "$") {
        if (!outermost) throw this.#problem("$ anywhere but at the end");
        this.#at++;
        ends = true;
      } else parts.push(this.#repeated());
    }
    const any = this.#expressions.repeat(this.#class(others([])), 0, Infinity);
    if (outermost && !whole && !begins) parts.unshift(any);
    if (outermost && !whole && !ends) parts.push(any);
    return this.#expressions.sequence(...parts);
  }

  #repeated(): Expression {
    const atom = this.#atom();
    const bounds = this.#bounds();
    if (!bounds) return atom;
    this.#take("?");
    const [min, max] = bounds;
    if (min > max || Math.max(min, max === Infinity ? 0 : max) > MOST_REPEATS) {
      throw this.#problem(`a repetition of ${min} to ${max} times`);
    }
    if (this.#bounds()) throw this.#problem("a repetition of a repetition");
    return this.#expressions.repeat(atom, min, max);
  }

  #bounds(): [min: number, max: number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    const rest = this.#pattern.slice(this.#at, this.#at + 24).join("");
    const found = /^\{(\d+)(?:(,)(\d*))?\}/.exec(rest);
    if (!found) return undefined;
    this.#at += found[0].length;
    const [, min, open, max] = found;
    return [Number(min), open ? (max === "" ? Infinity : Number(max)) : Number(min)];
  }

  #atom(): Expression {
    const next = this.#pattern[this.#at++];
    if (next === "(") return this.#group();
    if (next === "[") return this.#class(this.#set());
    if (next === ".") return this.#class(others(LINE_ENDS));
    if (next === "\\") return this.#class(this.#escape(false));
    if ("*+?".includes(next)) throw this.#problem(`nothing before ${next}`);
    return this.#class([rangeOf(next)]);
  }

  #group(): Expression {
    if (this.#take("?")) {
      const kind = this.#pattern[this.#at++];
      if (kind === "<" && !"=!".includes(this.#peek() ?? "=")) {
        while (this.#at < this.#pattern.length && !this.#take(">")) this.#at++;
      } else if (kind !== ":") throw this.#problem("looking ahead or behind");
    }
    this.#depth++;
    const inside = this.#alternatives();
    this.#depth--;
    if (!this.#take(")")) throw this.#problem("a ( that is not closed");
    return inside;
  }

  #set(): Range[] {
    const negated = this.#take("^");
    const ranges: Range[] = [];
    while (!this.#take("]")) {
      const first = this.#member();
      const [only] = first;
      const isRange = this.#peek() === "-" && (this.#pattern[this.#at + 1] ?? "]") !== "]";
      if (!isRange) ranges.push(...first);
      else {
        this.#at++;
        const [end] = this.#member();
        if (end[1] < only[0]) throw this.#problem("a range that ends before it begins");
        ranges.push([only[0], end[1]]);
      }
    }
    return negated ? others(ranges) : united(ranges);
  }

  #member(): Range[] {
    const next = this.#pattern[this.#at++];
    if (next === undefined) throw this.#problem("a [ that is not closed");
    return next === "\\" ? this.#escape(true) : [rangeOf(next)];
  }

  #escape(inSet: boolean): Range[] {
    const next = this.#pattern[this.#at++];
    if (next === undefined) throw this.#problem("a \\ at the end");
    const sets: Readonly<Record<string, Range[]>> = { d: DIGITS, w: WORD, s: SPACES };
    if (Object.hasOwn(sets, next)) return sets[next];
    const negated = next.toLowerCase();
    if (next !== negated && Object.hasOwn(sets, negated)) return others(sets[negated]);
    if (next === "b" && inSet) return [[8, 8]];
    if (next === "x") return this.#code(/^[\da-fA-F]{2}/);
    if (next === "u") return this.#code(/^(?:[\da-fA-F]{4}|\{[\da-fA-F]{1,6}\})/);
    if (next === "c") return this.#controlLetter();
    if (next === "p" || next === "P") return this.#property(next === "P");
    if (Object.hasOwn(CONTROLS, next)) return [[CONTROLS[next], CONTROLS[next]]];
    if (/[a-zA-Z1-9]/.test(next)) throw this.#problem(`\\${next}`);
    return [rangeOf(next)];
  }

  #code(form: RegExp): Range[] {
    const found = form.exec(this.#pattern.slice(this.#at, this.#at + 8).join(""));
    if (!found) throw this.#problem("an escaped character");
    this.#at += found[0].length;
    const code = Number.parseInt(found[0].replace(/[{}]/g, ""), 16);
    if (code > 0x10ffff) throw this.#problem("an escaped character");
    return [[code, code]];
  }

  #controlLetter(): Range[] {
    const letter = this.#pattern[this.#at++] ?? "";
    if (!/^[a-zA-Z]$/.test(letter)) throw this.#problem("\\c");
    const code = letter.charCodeAt(0) % 32;
    return [[code, code]];
  }

  /** A property of Unicode, as this Node knows it. */
  #property(negated: boolean): Range[] {
    const found = /^\{[\w=]{1,48}\}/.exec(this.#pattern.slice(this.#at, this.#at + 50).join(""));
    if (!found) throw this.#problem("\\p");
    this.#at += found[0].length;
    const ranges = rangesOfProperty(found[0]);
    if (!ranges) throw this.#problem(`\\p${found[0]}`);
    return negated ? others(ranges) : ranges;
  }

  #class(ranges: readonly Range[]): Expression {
    return characterOf(this.#expressions, ranges, this.#options.spelling);
  }

  #peek(): string | undefined {
    return this.#pattern[this.#at];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #problem(what: string): GrammarError {
    return new GrammarError(`${this.#options.path}: ${what} is not supported, at ${this.#at}`);
  }
}

function rangeOf(character: string): Range {
  const code = character.codePointAt(0) as number;
  return [code, code];
}

function rangesOfProperty(property: string): Range[] | undefined {
  let has: RegExp;
  try {
    has = new RegExp(`^\\p${property}$`, "u");
  } catch {
    return undefined;
  }
  const ranges: [number, number][] = [];
  for (let code = 0; code <= 0x10ffff; code++) {
    if (!has.test(String.fromCodePoint(code))) continue;
    const last = ranges.at(-1);
    if (last && last[1] === code - 1) last[1] = code;
    else ranges.push([code, code]);
  }
  return ranges;
}
