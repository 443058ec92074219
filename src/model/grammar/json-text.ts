/** How JSON's values are spelled, and how much white space stands between them. */
import { characterOf, LAST_CODE_POINT, others, type Range } from "./characters.ts";
import type { Expression, Expressions } from "./expressions.ts";
import type { Punctuation } from "./machine.ts";
import { patternExpression } from "./pattern.ts";

const ALL: Range[] = [[0, LAST_CODE_POINT]];

/** JSON's spellings as expressions of one grammar. */
export class JsonText {
  readonly punctuation: Punctuation;
  /** White space before a whole text. */
  readonly lead: Expression;
  readonly number: Expression;
  readonly whole: Expression;
  /** Any characters inside quotes as JSON.stringify writes them: one spelling for each text. */
  readonly characters: Expression;
  readonly #expressions: Expressions;
  readonly #character: Expression;
  /** A character in any of its spellings. */
  readonly #anySpelling: Expression;

  constructor(expressions: Expressions) {
    this.#expressions = expressions;
    const space = this.#raw("( |\\n {0,40})?");
    const joined = (...parts: Expression[]) => expressions.sequence(...parts);
    const sign = (text: string) => expressions.text(text);
    this.lead = this.#raw("[ \\n]{0,2}");
    this.punctuation = {
      object: [sign("{"), joined(space, sign("}"))],
      array: [sign("["), joined(space, sign("]"))],
      first: space,
      comma: joined(space, sign(","), space),
      colon: joined(space, sign(":"), space),
    };
    // Bounded, so that each is a finite number to whoever reads it.
    const plain = "-?(0|[1-9]\\d{0,59})";
    const large = "[eE]\\+?(2[1-9]|[3-9]\\d|[12]\\d\\d|30[0-7])";
    this.number = this.#raw(
      `${plain}(\\.\\d{1,60})?|-?\\d(\\.\\d{1,20})?[eE]([+-]?\\d{1,2}|[+-]?[12]\\d\\d|\\+?30[0-7])`,
    );
    this.whole = this.#raw(`${plain}(\\.0{1,3})?|-?[1-9](\\.\\d{1,20})?${large}`);
    this.#character = characterOf(expressions, ALL, "json");
    const hex = "[\\da-fA-F]";
    const escapes = this.#raw(
      `\\\\(["\\\\/bfnrt]|u([\\da-ce-fA-CE-F]${hex}{3}|[dD][0-7]${hex}{2})|u[dD][89abAB]${hex}{2}\\\\u[dD][c-fC-F]${hex}{2})`,
    );
    const unescaped = others([...others(ALL), [0, 0x1f], [0x22, 0x22], [0x5c, 0x5c]]);
    this.#anySpelling = expressions.union(characterOf(expressions, unescaped, "raw"), escapes);
    this.characters = expressions.repeat(this.#character, 0, Infinity);
  }

  quoted(characters: Expression): Expression {
    const quote = this.#expressions.text('"');
    return this.#expressions.sequence(quote, characters, quote);
  }

  /** Characters of a text that is so long, in any spelling or in the one of JSON.stringify. */
  ofLength(min: number, max: number, spelling: "any" | "one"): Expression {
    const character = spelling === "any" ? this.#anySpelling : this.#character;
    return this.#expressions.repeat(character, min, max);
  }

  /** A text's characters inside quotes. */
  literal(text: string): Expression {
    return this.#expressions.text(JSON.stringify(text).slice(1, -1));
  }

  #raw(pattern: string): Expression {
    const options = { spelling: "raw", whole: true, path: "" } as const;
    return patternExpression(this.#expressions, pattern, options);
  }
}
