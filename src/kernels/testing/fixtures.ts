import assert from "node:assert/strict";
import { createNativeKernels } from "../native/native.ts";
import { loadNative } from "../native-addon.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import type { Kernels, Stream } from "../stream.ts";

export interface Backend {
  readonly name: string;
  /** Two threads where it has threads, for the first stream. Streams of what was created before are closed then. */
  readonly create: () => Kernels;
}

let open: { readonly kernels: Kernels; readonly streams: Stream[] } | undefined;

/** Streams share the machine's cores: one that a test leaves open would take a thread from the next test's. */
function createAlone(instructionSet: string): Kernels {
  const kernels = createNativeKernels({ instructionSet, threads: 2 });
  return {
    ...kernels,
    createStream(...options) {
      if (open?.kernels !== kernels) {
        for (const stream of open?.streams ?? []) stream.close();
        open = { kernels, streams: [] };
      }
      const stream = kernels.createStream(...options);
      if (open.streams.push(stream) === 1) assert.equal(stream.threads, kernels.threads);
      return stream;
    },
  };
}

/** The reference, and native kernels of every instruction set that this machine runs. */
export const backends: readonly Backend[] = [
  { name: "reference", create: createReferenceKernels },
  ...(loadNative().addon?.instructionSets ?? []).map((instructionSet) => ({
    name: instructionSet,
    create: () => createAlone(instructionSet),
  })),
];
