export { benchKernels, type KernelMeasured } from "./kernel-bench.ts";
