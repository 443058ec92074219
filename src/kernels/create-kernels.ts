import { createNativeKernels, nativeProblem } from "./native.ts";
import { createReferenceKernels } from "./reference.ts";
import type { Kernels } from "./stream.ts";

/** The fastest kernels this machine has: native ones, or the reference where none are built. */
export function createKernels(options: { readonly threads?: number } = {}): Kernels {
  return nativeProblem() === undefined ? createNativeKernels(options) : createReferenceKernels();
}
