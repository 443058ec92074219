/** A schema's parts by where they stand, and where its references point. */
import { GrammarError } from "./errors.ts";
import type { Placed } from "./shapes.ts";

type Schema = Placed["schema"];

export class SchemaPlaces {
  readonly any: Placed = { schema: true, path: "#" };
  readonly none: Placed = { schema: false, path: "#" };
  readonly root: Placed;
  /** Draft 7 and before: nothing beside `$ref` counts. */
  readonly refStandsAlone: boolean;
  readonly #places = new Map<object, Placed>();
  readonly #negations = new Map<Placed, Placed>();
  readonly #named = new Map<string, Placed>();
  /** A part of the schema that is a document of its own. */
  #innerId: string | undefined;

  constructor(root: Schema) {
    const dialect = typeof root === "object" ? root.$schema : undefined;
    this.refStandsAlone = typeof dialect === "string" && /draft-0[3-7]/.test(dialect);
    this.root = this.place(root, "#");
    this.#findNames(root, "#");
  }

  place(schema: Schema, path: string): Placed {
    if (schema === true) return this.any;
    if (schema === false) return this.none;
    const known = this.#places.get(schema) ?? { schema, path };
    this.#places.set(schema, known);
    return known;
  }

  not(placed: Placed): Placed {
    if (placed === this.any) return this.none;
    if (placed === this.none) return this.any;
    const known = this.#negations.get(placed) ?? {
      schema: { not: placed.schema },
      path: placed.path,
    };
    this.#negations.set(placed, known);
    return known;
  }

  /** @throws GrammarError when a reference leaves the schema, or finds nothing in it. */
  find(reference: string, path: string): Placed {
    const named = this.#named.get(reference);
    if (named) return named;
    if (this.#innerId !== undefined) {
      throw new GrammarError(
        `${this.#innerId}/$id: references beside an inner $id are not supported`,
      );
    }
    if (!/^#(\/|$)/.test(reference)) {
      throw new GrammarError(`${path}/$ref: expected a place in this schema, got ${reference}`);
    }
    let found: unknown = this.root.schema;
    for (const part of reference.split("/").slice(1)) {
      const key = unescaped(part);
      const inside = typeof found === "object" && found !== null && Object.hasOwn(found, key);
      found = inside ? (found as Record<string, unknown>)[key] : undefined;
    }
    if (
      typeof found === "boolean" ||
      (typeof found === "object" && found !== null && !Array.isArray(found))
    ) {
      return this.place(found as Schema, reference);
    }
    throw new GrammarError(`${path}/$ref: ${reference} is not in this schema`);
  }

  /** Names that schemas give themselves. One with an identity of its own would turn references. */
  #findNames(value: unknown, path: string): void {
    if (typeof value !== "object" || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === "$anchor" && typeof inner === "string") {
        this.#named.set(`#${inner}`, this.place(value as Schema, path));
      }
      if (key === "$id" && typeof inner === "string") {
        if (inner.startsWith("#")) this.#named.set(inner, this.place(value as Schema, path));
        else if (path === "#") this.#named.set(inner, this.root);
        else this.#innerId ??= path;
      }
      if (!["enum", "const", "default", "examples"].includes(key)) {
        this.#findNames(inner, `${path}/${key}`);
      }
    }
  }
}

function unescaped(part: string): string {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // It stands for itself.
  }
  return text.replaceAll("~1", "/").replaceAll("~0", "~");
}
