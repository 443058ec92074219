import { ApiError, invalidValue } from "../errors.ts";
import type { ServedModel } from "./served-model.ts";

/** The models of a server, by their names. */
export class ServedModels {
  /** One at least. */
  readonly all: readonly ServedModel[];
  readonly #byName: ReadonlyMap<string, ServedModel>;

  /** @throws RangeError where two have the same name */
  constructor(all: readonly ServedModel[]) {
    this.all = all;
    const named = all.flatMap((model) =>
      [...new Set(model.names)].map((name) => [name, model] as const),
    );
    this.#byName = new Map(named);
    if (this.#byName.size < named.length) throw new RangeError("names: expected no name twice");
  }

  get names(): readonly string[] {
    return [...this.#byName.keys()];
  }

  /** @throws ApiError 404 that says which names there are */
  named(name: string): ServedModel {
    const model = this.#byName.get(name);
    if (model) return model;
    const served = this.names.join(", ");
    const message = `The model ${JSON.stringify(name.slice(0, 200))} does not exist; served: ${served}`;
    throw new ApiError(404, "model_not_found", message, { param: "model" });
  }

  /** The model of that name; the only one where none is named. @throws ApiError 404, or 400 where it must be named */
  only(name: string | null | undefined): ServedModel {
    if (name) return this.named(name);
    if (this.all.length === 1) return this.all[0];
    throw invalidValue("model", `model: expected one of ${this.names.join(", ")}`);
  }

  /** The model of that name; the first where none is named. @throws ApiError 404 */
  first(name: string | undefined): ServedModel {
    return name ? this.named(name) : this.all[0];
  }
}
