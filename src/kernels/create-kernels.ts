import { createNativeKernels, nativeProblem } from "./native.ts";
import { createReferenceKernels } from "./reference.ts";
import type { Kernels } from "./stream.ts";

/**
 * The fastest kernels this machine has: native ones, or the reference where none are built or
 * DAYSIX_ISA asks for it.
 */
export function createKernels(options: { readonly threads?: number } = {}): Kernels {
  const wantsReference = process.env["DAYSIX_ISA"] === "reference";
  if (wantsReference || nativeProblem() !== undefined) return createReferenceKernels();
  return createNativeKernels(options);
}
