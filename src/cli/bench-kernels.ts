import type { Command } from "cac";
import { benchKernels, type KernelMeasured } from "../bench/index.ts";
import { nativeProblem, usableCores } from "../kernels/index.ts";
import { integerOf, policyHelp, policyOf, UsageError } from "./arguments.ts";

export function withBenchKernels(command: Command): Command {
  return command
    .option("--policy <policy>", policyHelp, { default: "w8a16" })
    .option("--threads <count>", "Compute threads; by default all cores")
    .option("--json", "Print a line of JSON for each measurement");
}

/** `daysix bench kernels`: matmuls and attention beside the roofs of this machine. */
export async function runBenchKernels(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const policy = policyOf(flags["policy"]);
  const threads =
    flags["threads"] === undefined
      ? usableCores()
      : integerOf("threads", flags["threads"], 1, usableCores());
  const problem = nativeProblem();
  if (problem) throw new UsageError(`bench kernels: ${problem}`);
  const json = flags["json"] === true;
  if (!json) console.log(line(header));
  for await (const measured of benchKernels({ policy, threads })) {
    console.log(json ? JSON.stringify(measured) : line(rowOf(measured)));
  }
}

/** Each is printed once it is measured, so columns are as wide as the widest may be. */
const line = ([first, ...others]: readonly string[]) =>
  first.padEnd(28) + others.map((cell) => cell.padStart(13)).join("");

const header = [
  ...["", "rows", "us p20", "us median", "GB/s", "GFLOP/s", "read GB/s", "peak GFLOP/s"],
  "of roof",
];

function rowOf(measured: KernelMeasured): string[] {
  const { kernel, name, rows, experts, context } = measured;
  return [
    context > 0 ? `${kernel} ${name} at ${context}` : `${kernel} ${name}`,
    experts > 0 ? `${experts} × ${rows / experts}` : String(rows),
    measured.p20.toFixed(0),
    measured.median.toFixed(0),
    measured.GBs.toFixed(1),
    measured.GFlops.toFixed(0),
    measured.readGBs.toFixed(1),
    measured.peakGFlops.toFixed(0),
    `${(100 * measured.roofShare).toFixed(1)} %`,
  ];
}
