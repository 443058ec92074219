/** Values of a schema's keywords, checked. */
import { GrammarError } from "./errors.ts";
import type { Placed } from "./shapes.ts";

type Keywords = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Keywords =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** One schema object's keywords; what it returns is undefined where a keyword is absent. */
export class SchemaKeywords {
  readonly path: string;
  readonly #keywords: Keywords;
  readonly #place: (schema: boolean | Keywords, path: string) => Placed;

  constructor(
    keywords: Keywords,
    path: string,
    place: (schema: boolean | Keywords, path: string) => Placed,
  ) {
    this.path = path;
    this.#keywords = keywords;
    this.#place = place;
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  value(name: string): unknown {
    return Object.hasOwn(this.#keywords, name) ? this.#keywords[name] : undefined;
  }

  number(name: string): number | undefined {
    const value = this.value(name);
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw this.problem(name, "expected a number");
  }

  /** How many there may be of something. */
  count(name: string): number | undefined {
    const value = this.number(name);
    if (value === undefined || (Number.isInteger(value) && value >= 0)) return value;
    throw this.problem(name, "expected a whole number");
  }

  text(name: string): string | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "string") return value;
    throw this.problem(name, "expected a string");
  }

  texts(name: string): readonly string[] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value;
    throw this.problem(name, "expected strings");
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.value(name);
    if (value === undefined || Array.isArray(value)) return value;
    throw this.problem(name, "expected an array");
  }

  schema(name: string): Placed | undefined {
    const value = this.value(name);
    return value === undefined ? undefined : this.#schemaAt(value, name);
  }

  schemas(name: string): readonly Placed[] | undefined {
    return this.list(name)?.map((each, i) => this.#schemaAt(each, `${name}/${i}`));
  }

  /** Values by name that are schemas. */
  schemasByName(name: string, but: ReadonlySet<string> = new Set()): ReadonlyMap<string, Placed> {
    const entries = this.#entries(name).filter(([key]) => !but.has(key));
    return new Map(entries.map(([key, value]) => [key, this.#schemaAt(value, `${name}/${key}`)]));
  }

  /** Values by name that are lists of names. */
  namesByName(name: string): readonly (readonly [string, readonly string[]])[] {
    return this.#entries(name).flatMap(([key, value]) =>
      Array.isArray(value) ? [[key, value.map(String)] as const] : [],
    );
  }

  problem(name: string, message: string): GrammarError {
    return new GrammarError(`${this.path}/${name}: ${message}`);
  }

  #entries(name: string): [string, unknown][] {
    const value = this.value(name);
    if (value === undefined) return [];
    if (!isRecord(value)) throw this.problem(name, "expected an object");
    return Object.entries(value);
  }

  #schemaAt(value: unknown, name: string): Placed {
    if (typeof value !== "boolean" && !isRecord(value))
      throw this.problem(name, "expected a schema");
    return this.#place(value, `${this.path}/${name}`);
  }
}
