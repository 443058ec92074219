import { mkdtempSync, rmSync, writeSync, openSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  codeBytes,
  scaleShape,
  type Weight,
  type WeightDtype,
  type WeightMaker,
} from "../../kernels/index.ts";
import { RandomValues } from "../model/index.ts";

/** More than caches hold for long. */
const POOL_BYTES = 2 ** 30;
/** One value at the pool's beginning for each scale of the largest weight. */
const SCALE_BYTES = 2 ** 20;
const WRITE_BYTES = 2 ** 23;

/**
 * FP8 weights of any shape, cut one behind the other from a file of random codes: enough copies of a
 * weight that a bench reads memory, not caches. The owner removes it.
 */
export class WeightPool implements WeightMaker {
  readonly file: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "daysix-kernel-bench-"));
  #next = 0;

  constructor() {
    this.file = join(this.#directory, "weights");
    const values = new RandomValues(1);
    const descriptor = openSync(this.file, "w");
    try {
      writeSync(descriptor, new Uint8Array(new Float32Array(SCALE_BYTES / 4).fill(0.01).buffer));
      const codes = new Uint8Array(WRITE_BYTES);
      for (let at = 0; at < POOL_BYTES; at += WRITE_BYTES) {
        values.write(codes, values.codes);
        writeSync(descriptor, codes);
      }
    } finally {
      closeSync(descriptor);
    }
  }

  create(
    _random: () => number,
    dtype: WeightDtype,
    shape: readonly number[],
  ): { readonly weight: Weight } {
    const bytes = codeBytes(dtype, shape);
    if (this.#next + bytes > POOL_BYTES) this.#next = 0;
    const offset = SCALE_BYTES + this.#next;
    this.#next += Math.ceil(bytes / 64) * 64;
    const weight = { name: `${dtype} at ${offset}`, dtype, shape, file: this.file, offset };
    const scales = scaleShape(dtype, shape);
    if (!scales) return { weight };
    const scale: Weight = {
      ...{ name: "scales", dtype: "F32", file: this.file, offset: 0 },
      shape: scales,
    };
    return { weight: { ...weight, scale } };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
