import {
  CLOSING_BRACE,
  CLOSING_BRACKET,
  COMMA,
  type Characters,
  endOfString,
  OPENING_BRACE,
  OPENING_BRACKET,
  QUOTE,
} from "./json-characters.ts";

/** A list or object that has begun and not ended. */
export interface Container {
  readonly isObject: boolean;
  readonly start: number;
  /** Of the element that is read now. */
  index: number;
  /** Where the key that is read now begins and ends, quotes included. */
  keyStart: number;
  keyEnd: number;
}

/** Told of what comes in a JSON text; whatever it answers ends the walk. */
export interface JsonVisitor<Found> {
  /** A key of the innermost of `open`, or an element of it that is more than a number; none: the text's value. */
  member?(open: readonly Container[]): Found | undefined;
  /** The innermost has begun. */
  open?(open: readonly Container[]): Found | undefined;
  /** It is about to end, before `end`. */
  close?(open: readonly Container[], end: number): Found | undefined;
  /** The innermost, a list, has one element more. */
  element?(open: readonly Container[]): Found | undefined;
}

/**
 * Reads each character once and remembers only the lists and objects that are open. Text that is no
 * JSON is not noticed.
 */
export function walkJson<Found>(json: Characters, visit: JsonVisitor<Found>): Found | undefined {
  const open: Container[] = [];
  let atKey = false;
  for (let at = 0; at < json.length; at++) {
    const container = open.at(-1);
    let found: Found | undefined;
    const code = json.charCodeAt(at);
    switch (code) {
      case QUOTE: {
        const end = endOfString(json, at);
        if (container && atKey) {
          container.keyStart = at;
          container.keyEnd = end;
        }
        if (!container?.isObject || atKey) found = visit.member?.(open);
        atKey = false;
        at = end - 1;
        break;
      }
      case OPENING_BRACE:
      case OPENING_BRACKET:
        if (!container?.isObject) found = visit.member?.(open);
        atKey = code === OPENING_BRACE;
        open.push({ isObject: atKey, start: at, index: 0, keyStart: at, keyEnd: at });
        found ??= visit.open?.(open);
        break;
      case CLOSING_BRACE:
      case CLOSING_BRACKET:
        if (container) found = visit.close?.(open, at + 1);
        open.pop();
        atKey = false;
        break;
      case COMMA:
        atKey = container?.isObject ?? false;
        if (!container || atKey) break;
        container.index++;
        found = visit.element?.(open);
        break;
      case FIRST_OF_TRUE:
      case FIRST_OF_FALSE:
      case FIRST_OF_NULL:
        if (!container?.isObject) found = visit.member?.(open);
    }
    if (found !== undefined) return found;
  }
  return undefined;
}

const FIRST_OF_TRUE = 0x74;
const FIRST_OF_FALSE = 0x66;
const FIRST_OF_NULL = 0x6e;
