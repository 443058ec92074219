/** How JSON's values are spelled, and how much white space stands between them. */
import { characterOf, LAST_CODE_POINT, others, type Range } from "./characters.ts";
import type { Expression, Expressions } from "./expressions.ts";
import { type ArrayPunctuation, nodeOf, type ObjectPunctuation } from "./nodes.ts";
import { patternExpression } from "./pattern.ts";

const ALL: Range[] = [[0, LAST_CODE_POINT]];

/** JSON's spellings as expressions of one grammar. */
export class JsonText {
  readonly object: ObjectPunctuation;
  readonly array: ArrayPunctuation;
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
    const node = (...parts: Expression[]) => nodeOf(expressions.sequence(...parts));
    const sign = (text: string) => expressions.text(text);
    this.lead = this.#raw("[ \\n]{0,2}");
    const between = { first: node(space), comma: node(space, sign(","), space) };
    this.array = { ...between, open: node(sign("[")), close: node(space, sign("]")) };
    this.object = {
      ...{ ...between, open: node(sign("{")), close: node(space, sign("}")) },
      colon: node(space, sign(":"), space),
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

  /** A text's characters as they are: `ending` is not among them. */
  unquoted(min: number, max: number, ending: string): Expression {
    return this.#without(ending, this.#expressions.repeat(this.#raw("[^]"), min, max));
  }

  /** The same of texts that are like others, as long as no character of them needs an escape. */
  unquotedLike(min: number, max: number, like: readonly Expression[], ending: string): Expression {
    const plain = this.#expressions.repeat(this.#raw('[^"\\\\\\x00-\\x1f]'), min, max);
    return this.#expressions.intersection(this.#without(ending, plain), ...like);
  }

  #without(ending: string, texts: Expression): Expression {
    const { anything } = this.#expressions;
    const text = this.#expressions.text(ending);
    return this.#expressions.intersection(
      texts,
      this.#expressions.complement(this.#expressions.sequence(anything, text, anything)),
    );
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
