import type { Int4Packing } from "./int4-packing.ts";
import type { WeightDtype } from "./weight-format.ts";

/**
 * A weight where it lies: weights are mapped, not read, so this handle is all that crosses the
 * kernel seam. Linear weights are `[outputs, inputs]`, row-major; vectors have one dimension.
 */
export interface Weight {
  /** The tensor's name in the checkpoint, for error messages. */
  readonly name: string;
  readonly dtype: WeightDtype;
  readonly shape: readonly number[];
  readonly file: string;
  /** Byte offset of the first element in `file`; any alignment. */
  readonly offset: number;
  /** Where the dtype's format has scales: one for each block; a code is multiplied by it. */
  readonly scale?: Weight;
  /** Of INT4 codes that do not lie row after row, or have zero points. */
  readonly packing?: Int4Packing;
  /** A copy in strips (native/host/strips.h), for kernels that multiply those faster. */
  readonly strips?: { readonly file: string; readonly offset: number };
}
