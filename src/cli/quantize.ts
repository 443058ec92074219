import { createKernels, usableCores, type ScaleFormat } from "../kernels/index.ts";
import { quantizeCheckpoint } from "../model/index.ts";

/** `daysix quantize`: a BF16 or float32 checkpoint's copy in FP8. */
export async function quantize(options: {
  readonly directory: string;
  readonly target: string;
  readonly scales: ScaleFormat;
}): Promise<void> {
  const { directory, target, scales } = options;
  await quantizeCheckpoint(directory, target, {
    kernels: createKernels({ threads: usableCores() }),
    scales,
    onFile: (name, bytes) => console.log(`${name}  ${(bytes / 1e9).toFixed(2)} GB`),
  });
  console.log(`wrote ${target}`);
}
