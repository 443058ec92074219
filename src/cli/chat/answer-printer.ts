import type { Piece, Spent } from "./conversation.ts";

const DIM = "\u001B[2m";
const PLAIN = "\u001B[22m";

export const dimmed = (text: string): string => `${DIM}${text}${PLAIN}`;

/** Writes an answer as it comes: thoughts dimmed on a terminal, and left out elsewhere. */
export class AnswerPrinter {
  readonly #write: (text: string) => void;
  readonly #showsThoughts: boolean;
  #thinking = false;
  #atLineStart = true;

  constructor(write: (text: string) => void, showsThoughts: boolean) {
    this.#write = write;
    this.#showsThoughts = showsThoughts;
  }

  /** Prints all of it; what comes after begins a line, whether it is whole or has failed. */
  async print(answer: AsyncGenerator<Piece, Spent | undefined>): Promise<Spent | undefined> {
    try {
      let next = await answer.next();
      for (; !next.done; next = await answer.next()) this.#piece(next.value);
      return next.value;
    } finally {
      this.#end();
    }
  }

  #piece({ kind, text }: Piece): void {
    const thinks = kind === "thought";
    if (thinks && !this.#showsThoughts) return;
    if (thinks && !this.#thinking) this.#write(DIM);
    if (!thinks && this.#thinking) this.#write(PLAIN + (this.#atLineStart ? "" : "\n"));
    this.#thinking = thinks;
    this.#write(text);
    this.#atLineStart = text.endsWith("\n");
  }

  #end(): void {
    if (this.#thinking) this.#write(PLAIN);
    if (!this.#atLineStart) this.#write("\n");
    this.#thinking = false;
    this.#atLineStart = true;
  }
}
