import {
  CLOSING_BRACE,
  CLOSING_BRACKET,
  COMMA,
  endOfString,
  OPENING_BRACE,
  OPENING_BRACKET,
  QUOTE,
} from "./json-characters.ts";

/** An object in a JSON text, and the list indices on the way to it. */
export interface FoundObject {
  readonly indices: readonly number[];
  readonly text: string;
}

interface Container {
  readonly isObject: boolean;
  readonly start: number;
  index: number;
  /** Where the key that is read now begins and ends, quotes included. */
  keyStart: number;
  keyEnd: number;
}

/** The objects at a path, in which a number stands for each element of a list. */
export function objectsAt(json: string, path: readonly (string | 0)[]): FoundObject[] {
  const found: FoundObject[] = [];
  const open: Container[] = [];
  let atKey = false;
  const isHere = () =>
    open.length === path.length + 1 &&
    open.every(({ isObject, keyStart, keyEnd }, depth) => {
      const step = path[depth];
      if (step === undefined) return isObject;
      return isObject ? json.slice(keyStart, keyEnd) === JSON.stringify(step) : step === 0;
    });
  for (let at = 0; at < json.length; at++) {
    const container = open.at(-1);
    switch (json.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(json, at);
        if (container?.isObject && atKey) Object.assign(container, { keyStart: at, keyEnd: end });
        atKey = false;
        at = end - 1;
        break;
      }
      case OPENING_BRACE:
      case OPENING_BRACKET:
        atKey = json.charCodeAt(at) === OPENING_BRACE;
        open.push({ isObject: atKey, start: at, index: 0, keyStart: at, keyEnd: at });
        break;
      case CLOSING_BRACE:
      case CLOSING_BRACKET:
        if (container && isHere()) {
          const lists = open.filter(({ isObject }) => !isObject);
          const text = json.slice(container.start, at + 1);
          found.push({ indices: lists.map(({ index }) => index), text });
        }
        open.pop();
        atKey = false;
        break;
      case COMMA:
        atKey = container?.isObject ?? false;
        if (container && !atKey) container.index++;
    }
  }
  return found;
}
