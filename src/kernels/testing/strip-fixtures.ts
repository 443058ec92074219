import { appendFileSync, statSync } from "node:fs";
import type { WeightMaker } from "../inputs/index.ts";
import { MappedWeights } from "../native/mapped-weights.ts";
import { loadNative } from "../native-addon.ts";
import type { WeightDtype } from "../weight-format.ts";
import type { WeightFolder } from "./weight-folder.ts";

const LINE_BYTES = 64;

/** Weights of a folder, each with strips behind its rows. */
export class StripFolder implements WeightMaker {
  readonly #folder: WeightFolder;
  readonly #mapped: MappedWeights;

  constructor(folder: WeightFolder) {
    const { addon, problem } = loadNative();
    if (!addon) throw new Error(problem);
    this.#folder = folder;
    this.#mapped = new MappedWeights(addon, new addon.WeightFiles({ resident: false, threads: 1 }));
  }

  create(random: () => number, dtype: WeightDtype, shape: readonly number[]) {
    const { weight } = this.#folder.create(random, dtype, shape);
    if (dtype === "F32") return { weight };
    const { file } = weight;
    const { size } = statSync(file);
    const offset = Math.ceil(size / LINE_BYTES) * LINE_BYTES;
    const strips = this.#mapped.strips(weight);
    appendFileSync(file, Buffer.concat([Buffer.alloc(offset - size), strips]));
    return { weight: { ...weight, strips: { file, offset } } };
  }
}
