/** What is used of @huggingface/tokenizers, whose own declarations do not resolve under NodeNext. */
declare module "@huggingface/tokenizers" {
  export class SplitPreTokenizer {
    constructor(config: {
      readonly type: "Split";
      readonly pattern: { readonly Regex: string } | { readonly String: string };
      readonly behavior: "Isolated";
      readonly invert: false;
    });
    /** The pattern in JavaScript's dialect, with the flags g and u. */
    readonly pattern: RegExp | null;
  }

  export class Tokenizer {
    constructor(file: object, config: object);
    encode(
      text: string,
      options: { readonly add_special_tokens: boolean },
    ): {
      readonly ids: number[];
    };
  }
}
