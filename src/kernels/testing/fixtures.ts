import { createNativeKernels } from "../native/native.ts";
import { loadNative } from "../native-addon.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import type { Kernels } from "../stream.ts";

export interface Backend {
  readonly name: string;
  /** Two threads where it has threads. */
  readonly create: () => Kernels;
}

/** The reference, and native kernels of every instruction set that this machine runs. */
export const backends: readonly Backend[] = [
  { name: "reference", create: createReferenceKernels },
  ...(loadNative().addon?.instructionSets ?? []).map((instructionSet) => ({
    name: instructionSet,
    create: () => createNativeKernels({ instructionSet, threads: 2 }),
  })),
];
