import { createKernels, scaleFormats, usableCores } from "../kernels/index.ts";
import {
  int4Groups,
  quantizeCheckpoint,
  quantizedFormats,
  type QuantizedGroup,
} from "../model/index.ts";
import { oneOf, UsageError } from "./arguments.ts";
import { dtypeNames } from "./dtype-names.ts";
import { modelFolderOf } from "./model-folder.ts";
import { WriteProgress } from "./progress.ts";
import { untilSignal } from "./shutdown.ts";
import { table } from "./table.ts";

/** `daysix quantize`: a checkpoint's copy with its linear weights in FP8, INT8 or INT4. */
export async function quantize(
  directory: string,
  target: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<void> {
  const start = performance.now();
  const signal = untilSignal(`stopped; ${target} was not written`);
  const progress = new WriteProgress();
  const groups = await quantizeCheckpoint(await modelFolderOf(directory), target, {
    kernels: createKernels({ threads: usableCores() }),
    ...optionsOf(flags),
    onProgress: progress.show,
    signal,
  }).finally(() => progress.end());
  console.log(table([header, ...groups.map(rowOf)]));
  if (groups.some(({ from }) => from === "F8_E4M3")) {
    console.log(
      "FP8 values were rounded once already: from BF16 the whole change would be smaller",
    );
  }
  console.log(`wrote ${target} in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

function optionsOf(flags: Readonly<Record<string, unknown>>) {
  const format = oneOf("to", flags["to"], quantizedFormats);
  if (flags["group"] !== undefined && format !== "int4") {
    throw new UsageError(`--group: only INT4 has groups of inputs to choose, not ${format}`);
  }
  const scales = oneOf("scales", flags["scales"] ?? "f32", scaleFormats);
  if (scales !== "f32" && format !== "fp8") {
    throw new UsageError(`--scales: only FP8 has scales of ${scales}, not ${format}`);
  }
  return { format, scales, group: oneOf("group", flags["group"] ?? int4Groups[0], int4Groups) };
}

const header = ["weights", "from", "to", "tensors", "changed by"];

/** What rounding changed, as a share of the weights' own size. */
function rowOf({ group, from, dtype, tensors, lost, squares }: QuantizedGroup): string[] {
  const share = squares > 0 ? Math.sqrt(lost / squares) : 0;
  return [
    group,
    dtypeNames[from],
    dtypeNames[dtype],
    String(tensors),
    `${(100 * share).toFixed(2)} %`,
  ];
}
