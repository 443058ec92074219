/** Finds where a JSON object ends that comes in pieces; counts brackets, and checks nothing else. */
export class JsonObjectScanner {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #begun = false;

  get inString(): boolean {
    return this.#inString;
  }

  get complete(): boolean {
    return this.#begun && this.#depth <= 0;
  }

  /** How much of the text belongs to the object. */
  push(text: string): number {
    for (let at = 0; at < text.length; at++) {
      if (this.complete) return at;
      this.#take(text[at]);
    }
    return text.length;
  }

  #take(character: string): void {
    if (this.#escaped) this.#escaped = false;
    else if (this.#inString) {
      if (character === "\\") this.#escaped = true;
      else if (character === '"') this.#inString = false;
    } else if (character === '"') this.#inString = true;
    else if (character === "{" || character === "[") {
      this.#depth++;
      this.#begun = true;
    } else if (character === "}" || character === "]") this.#depth--;
  }
}
