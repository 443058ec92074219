import { type Container, walkJson } from "./json-walk.ts";

/** An object in a JSON text, and the list indices on the way to it. */
export interface FoundObject {
  readonly indices: readonly number[];
  readonly text: string;
}

/** The objects at a path, in which a number stands for each element of a list. */
export function objectsAt(json: string, path: readonly (string | 0)[]): FoundObject[] {
  const found: FoundObject[] = [];
  const isHere = (open: readonly Container[]) =>
    open.length === path.length + 1 &&
    open.every(({ isObject, keyStart, keyEnd }, depth) => {
      const step = path[depth];
      if (step === undefined) return isObject;
      return isObject ? json.slice(keyStart, keyEnd) === JSON.stringify(step) : step === 0;
    });
  walkJson(json, {
    close(open, end) {
      if (!isHere(open)) return;
      const indices = open.flatMap(({ isObject, index }) => (isObject ? [] : [index]));
      found.push({ indices, text: json.slice(open[path.length].start, end) });
    },
  });
  return found;
}
