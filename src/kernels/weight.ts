/** How a weight is stored in its checkpoint file. */
export type WeightDtype = "F32" | "BF16" | "F16" | "F8_E4M3";

export const bytesPerElement: Readonly<Record<WeightDtype, number>> = {
  F32: 4,
  BF16: 2,
  F16: 2,
  F8_E4M3: 1,
};

/** Rows and columns that share one scale of an FP8 weight. */
export const SCALE_BLOCK = 128;

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
  /** Of an FP8 weight: `[ceil(rows / 128), ceil(columns / 128)]`; the code is multiplied by it. */
  readonly scale?: Weight;
}
