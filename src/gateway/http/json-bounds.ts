import {
  CLOSING_BRACE,
  CLOSING_BRACKET,
  COMMA,
  type Characters,
  endOfString,
  OPENING_BRACE,
  OPENING_BRACKET,
  QUOTE,
} from "../json-characters.ts";

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

const FIRST_OF_TRUE = 0x74;
const FIRST_OF_FALSE = 0x66;
const FIRST_OF_NULL = 0x6e;

const LONGEST_KEY_TOLD = 100;

function pathOf(json: Characters, containers: readonly Container[]): PropertyKey[] {
  return containers.map(({ isObject, index, keyStart, keyEnd }) =>
    isObject ? json.slice(keyStart + 1, Math.min(keyEnd - 1, keyStart + LONGEST_KEY_TOLD)) : index,
  );
}
