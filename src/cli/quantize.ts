import { createKernels, usableCores, type ScaleFormat } from "../kernels/index.ts";
import {
  int4Groups,
  quantizeCheckpoint,
  quantizedFormats,
  type QuantizedFormat,
  type QuantizedGroup,
} from "../model/index.ts";
import { integerOf, scalesOf, textOf, UsageError } from "./arguments.ts";
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
  const format = formatOf(flags["to"]);
  if (flags["group"] !== undefined && format !== "int4") {
    throw new UsageError(`--group: only INT4 has groups of inputs to choose, not ${format}`);
  }
  const scales: ScaleFormat = flags["scales"] === undefined ? "f32" : scalesOf(flags["scales"]);
  if (scales !== "f32" && format !== "fp8") {
    throw new UsageError(`--scales: only FP8 has scales of ${scales}, not ${format}`);
  }
  return { format, scales, group: groupOf(flags["group"]) };
}

function formatOf(value: unknown): QuantizedFormat {
  const format = quantizedFormats.find((name) => name === value);
  if (format) return format;
  throw new UsageError(`--to: expected ${quantizedFormats.join(", ")}, got ${String(value)}`);
}

function groupOf(value: unknown): number {
  if (value === undefined) return int4Groups[0];
  const group = integerOf("group", textOf("group", value), 1, 2 ** 20);
  if (int4Groups.includes(group)) return group;
  throw new UsageError(`--group: expected ${int4Groups.join(" or ")}, got ${group}`);
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
