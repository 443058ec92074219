/** What a reader of text needs of it; tests count how often it is asked. */
export interface Characters {
  readonly length: number;
  charCodeAt(at: number): number;
  indexOf(character: string, from: number): number;
  slice(start: number, end: number): string;
}

export const QUOTE = 0x22;
export const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const OPENING_BRACE = 0x7b;
export const CLOSING_BRACE = 0x7d;
export const OPENING_BRACKET = 0x5b;
export const CLOSING_BRACKET = 0x5d;
/** Behind the closing quote of the string that begins here, or the text's end. */
export function endOfString(json: Characters, start: number): number {
  let quote = json.indexOf('"', start + 1);
  while (quote >= 0) {
    let backslashes = 0;
    while (json.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    quote = json.indexOf('"', quote + 1);
  }
  return json.length;
}
