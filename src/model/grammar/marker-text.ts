import type { Expressions } from "./expressions.ts";
import { type Node, nodeOf } from "./nodes.ts";

/** Texts of a grammar that hold tokens which are no text: a model's markers. */
export class MarkerText {
  readonly #expressions: Expressions;
  /** The longest first. */
  readonly #specials: readonly (readonly [text: string, token: number])[];

  constructor(
    expressions: Expressions,
    specials: readonly (readonly [text: string, token: number])[],
  ) {
    this.#expressions = expressions;
    this.#specials = specials.toSorted(([a], [b]) => b.length - a.length);
  }

  get tokens(): number[] {
    return this.#specials.map(([, token]) => token);
  }

  /** Exactly this text, its markers as their tokens. */
  node(text: string): Node {
    const of = this.#parts(text).map((part): Node =>
      typeof part === "number"
        ? { kind: "tokens", tokens: new Set([part]) }
        : nodeOf(this.#expressions.text(part)),
    );
    return { kind: "sequence", of };
  }

  /** Markers that are part of a text. */
  tokensIn(text: string): number[] {
    return this.#parts(text).filter((part) => typeof part === "number");
  }

  #parts(text: string): (string | number)[] {
    const parts: (string | number)[] = [];
    let plain = "";
    for (let at = 0; at < text.length;) {
      const found = this.#specials.find(([special]) => text.startsWith(special, at));
      if (!found) plain += text[at++];
      else {
        if (plain !== "") parts.push(plain);
        plain = "";
        parts.push(found[1]);
        at += found[0].length;
      }
    }
    return plain === "" ? parts : [...parts, plain];
  }
}
