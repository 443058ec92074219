import { appendFileSync, statSync } from "node:fs";
import type { WeightMaker } from "../inputs/index.ts";
import { StripPacker } from "../native/index.ts";
import type { WeightDtype } from "../weight-format.ts";
import type { WeightFolder } from "./weight-folder.ts";

const LINE_BYTES = 64;

/** Weights of a folder, each with strips behind its rows. */
export class StripFolder implements WeightMaker {
  readonly #folder: WeightFolder;
  readonly #packer = new StripPacker();

  constructor(folder: WeightFolder) {
    this.#folder = folder;
  }

  create(random: () => number, dtype: WeightDtype, shape: readonly number[]) {
    const { weight } = this.#folder.create(random, dtype, shape);
    if (dtype === "F32") return { weight };
    const { file } = weight;
    const { size } = statSync(file);
    const offset = Math.ceil(size / LINE_BYTES) * LINE_BYTES;
    const pieces = Array.from(this.#packer.pieces(weight, 2 ** 14), (piece) => piece.slice());
    appendFileSync(file, Buffer.concat([Buffer.alloc(offset - size), ...pieces]));
    return { weight: { ...weight, strips: { file, offset } } };
  }
}
