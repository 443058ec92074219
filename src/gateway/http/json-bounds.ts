/** What a reader of text needs of it; tests count how often it is asked. */
export interface Characters {
  readonly length: number;
  charCodeAt(at: number): number;
  indexOf(character: string, from: number): number;
  slice(start: number, end: number): string;
}

/** What is too much about a body, and where. */
export interface Excess {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

export interface JsonBounds {
  /** Lists and objects inside each other. */
  readonly nesting: number;
  /** Keys of one object, or elements of one list that are more than numbers. */
  readonly members: number;
  /** Members of all lists and objects together. */
  readonly allMembers: number;
  /** Elements of all lists together, numbers as well: token ids. */
  readonly allElements: number;
}

/**
 * Nesting deeper than any tool's schema, and shallow enough for whoever walks the value by recursion;
 * members for a conversation as long as a context, and few enough to check one by one; elements for
 * prompts in token ids, several times the longest context.
 */
export const requestBounds: JsonBounds = {
  nesting: 128,
  members: 4096,
  allMembers: 65_536,
  allElements: 524_288,
};

interface Container {
  readonly isObject: boolean;
  members: number;
  /** Of the element that is read now. */
  index: number;
  /** Where the key that is read now begins and ends, quotes included. */
  keyStart: number;
  keyEnd: number;
}

/**
 * Looks for what is too much in a JSON text before anybody builds a value of it. Reads each character
 * once and remembers only the lists and objects that are open. Text that is no JSON is not noticed.
 */
export function findExcess(json: Characters, bounds: JsonBounds): Excess | undefined {
  const open: Container[] = [];
  let allMembers = 0;
  let allElements = 0;
  let atKey = false;

  const count = (container: Container | undefined): Excess | undefined => {
    if (!container) return undefined;
    if (++container.members > bounds.members) {
      const kind = container.isObject ? "keys" : "elements";
      const path = pathOf(json, open.slice(0, open.indexOf(container)));
      return { path, message: `expected at most ${bounds.members} ${kind}, got more` };
    }
    if (++allMembers <= bounds.allMembers) return undefined;
    const message = `the body's lists and objects have more than ${bounds.allMembers} members`;
    return { path: [], message };
  };

  for (let at = 0; at < json.length; at++) {
    const container = open.at(-1);
    let excess: Excess | undefined;
    switch (json.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(json, at);
        if (container?.isObject && atKey) {
          container.keyStart = at;
          container.keyEnd = end;
        }
        if (!container?.isObject || atKey) excess = count(container);
        atKey = false;
        at = end - 1;
        break;
      }
      case OPENING_BRACE:
      case OPENING_BRACKET: {
        if (!container?.isObject) excess = count(container);
        const isObject = json.charCodeAt(at) === OPENING_BRACE;
        open.push({ isObject, members: 0, index: 0, keyStart: at, keyEnd: at });
        atKey = isObject;
        if (open.length > bounds.nesting) {
          const message = `the body is nested deeper than ${bounds.nesting} levels`;
          excess = { path: [], message };
        }
        break;
      }
      case CLOSING_BRACE:
      case CLOSING_BRACKET:
        open.pop();
        atKey = false;
        break;
      case COMMA:
        atKey = container?.isObject ?? false;
        if (!container || atKey) break;
        container.index++;
        if (++allElements >= bounds.allElements) {
          const message = `expected at most ${bounds.allElements} elements in all lists, got more`;
          excess = { path: pathOf(json, open.slice(0, -1)), message };
        }
        break;
      case FIRST_OF_TRUE:
      case FIRST_OF_FALSE:
      case FIRST_OF_NULL:
        if (!container?.isObject) excess = count(container);
    }
    if (excess) return excess;
  }
  return undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPENING_BRACE = 0x7b;
const CLOSING_BRACE = 0x7d;
const OPENING_BRACKET = 0x5b;
const CLOSING_BRACKET = 0x5d;
const FIRST_OF_TRUE = 0x74;
const FIRST_OF_FALSE = 0x66;
const FIRST_OF_NULL = 0x6e;

/** Behind the closing quote of the string that begins here, or the text's end. */
function endOfString(json: Characters, start: number): number {
  let quote = json.indexOf('"', start + 1);
  while (quote >= 0) {
    let backslashes = 0;
    while (json.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    quote = json.indexOf('"', quote + 1);
  }
  return json.length;
}

const LONGEST_KEY_TOLD = 100;

function pathOf(json: Characters, containers: readonly Container[]): PropertyKey[] {
  return containers.map(({ isObject, index, keyStart, keyEnd }) =>
    isObject ? json.slice(keyStart + 1, Math.min(keyEnd - 1, keyStart + LONGEST_KEY_TOLD)) : index,
  );
}
