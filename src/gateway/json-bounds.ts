import type { Characters } from "./json-characters.ts";
import { type Container, walkJson } from "./json-walk.ts";

/** What is too much about a JSON text, and where. */
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

/**
 * Looks for what is too much in a JSON text, which goes by the name of `what`, before anybody builds a value
 * of it. Text that is no JSON is not noticed.
 */
export function findExcess(
  json: Characters,
  bounds: JsonBounds,
  what = "the body",
): Excess | undefined {
  /** Of each list and object that is open. */
  const members: number[] = [];
  let allMembers = 0;
  let allElements = 0;
  return walkJson<Excess>(json, {
    member(open) {
      const inner = open.at(-1);
      if (!inner) return undefined;
      if (++members[open.length - 1] > bounds.members) {
        const kind = inner.isObject ? "keys" : "elements";
        const message = `expected at most ${bounds.members} ${kind}, got more`;
        return { path: pathOf(json, open.slice(0, -1)), message };
      }
      if (++allMembers <= bounds.allMembers) return undefined;
      const message = `${what}'s lists and objects have more than ${bounds.allMembers} members`;
      return { path: [], message };
    },
    open(open) {
      members[open.length - 1] = 0;
      if (open.length <= bounds.nesting) return undefined;
      return { path: [], message: `${what} is nested deeper than ${bounds.nesting} levels` };
    },
    element(open) {
      if (++allElements < bounds.allElements) return undefined;
      const message = `expected at most ${bounds.allElements} elements in all lists, got more`;
      return { path: pathOf(json, open.slice(0, -1)), message };
    },
  });
}

const LONGEST_KEY_TOLD = 100;

function pathOf(json: Characters, containers: readonly Container[]): PropertyKey[] {
  return containers.map(({ isObject, index, keyStart, keyEnd }) =>
    isObject ? json.slice(keyStart + 1, Math.min(keyEnd - 1, keyStart + LONGEST_KEY_TOLD)) : index,
  );
}
