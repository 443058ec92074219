import { createNativeKernels, nativeProblem, type NativeOptions } from "./native/index.ts";
import { createReferenceKernels } from "./reference/index.ts";
import type { Kernels } from "./stream.ts";

/**
 * The fastest kernels this machine has: native ones, or the reference where none are built or
 * DAYSIX_ISA asks for it.
 *
 * @throws RangeError where weights are to be resident and the reference runs
 */
export function createKernels(options: Omit<NativeOptions, "instructionSet"> = {}): Kernels {
  const problem =
    process.env["DAYSIX_ISA"] === "reference" ? "DAYSIX_ISA asks for others" : nativeProblem();
  if (problem === undefined) return createNativeKernels(options);
  if (options.weights !== "resident") return createReferenceKernels();
  throw new RangeError(`--weights resident: expected native kernels, but ${problem}`);
}
