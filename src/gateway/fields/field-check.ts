import { isDeepStrictEqual } from "node:util";
import { ApiError, unsupported } from "../errors.ts";
import type { FieldSources, FieldTable } from "./field.ts";

/** Names told of one request; one that sends more is told of the first. */
const TOLD_NAMES = 16;
const NAME_LENGTH = 64;

/** Looks at the names of a request's fields, before anybody looks at what they say. */
export class FieldCheck {
  readonly #fields: FieldTable;
  /** Paths below which fields are known. */
  readonly #parents = new Set<string>();

  constructor(sources: FieldSources) {
    this.#fields = Object.assign({}, ...Object.values(sources)) as FieldTable;
    for (const path of Object.keys(this.#fields)) {
      const end = Math.max(path.lastIndexOf("."), path.lastIndexOf("[]") + 1);
      for (let at = path.indexOf("."); at >= 0 && at <= end; at = path.indexOf(".", at + 1)) {
        this.#parents.add(path.slice(0, at));
      }
    }
  }

  /**
   * The fields that nobody knows, in the order of their first appearance.
   * @throws ApiError 400 at the first field that is refused, and under `strict` at the first unknown one.
   */
  unknownFields(body: unknown, strict: boolean): string[] {
    const unknown = new Set<string>();
    this.#look(body, "", "", (path, shown) => {
      if (strict)
        throw new ApiError(400, "unknown_parameter", `${shown}: unknown field`, { param: shown });
      if (unknown.size < TOLD_NAMES)
        unknown.add(path.replace(/[^\w.[\]-]/g, "?").slice(0, NAME_LENGTH));
    });
    return [...unknown];
  }

  /** `path` as the table has it, `shown` with the places in lists. */
  #look(
    value: unknown,
    path: string,
    shown: string,
    tell: (path: string, shown: string) => void,
  ): void {
    if (typeof value !== "object" || value === null) return;
    if (Array.isArray(value)) {
      for (const [at, each] of value.entries())
        this.#look(each, `${path}[]`, `${shown}[${at}]`, tell);
      return;
    }
    for (const [name, child] of Object.entries(value)) {
      const childPath = path === "" ? name : `${path}.${name}`;
      const childShown = shown === "" ? name : `${shown}.${name}`;
      const field = Object.hasOwn(this.#fields, childPath) ? this.#fields[childPath] : undefined;
      if (!field) tell(childPath, childShown);
      else if (field.fate === "refused")
        assertNeutral(child, field.neutral, field.note, childShown);
      else if (this.#isParent(childPath)) this.#look(child, childPath, childShown, tell);
    }
  }

  #isParent(path: string): boolean {
    return this.#parents.has(path) || this.#parents.has(`${path}[]`);
  }
}

function assertNeutral(
  value: unknown,
  neutral: readonly unknown[],
  note: string,
  shown: string,
): void {
  if (value === null || neutral.some((each) => isDeepStrictEqual(each, value))) return;
  throw unsupported(shown, `${shown}: ${note}`);
}
