export { createReferenceKernels } from "./reference.ts";
export { isPlain } from "./gemm.ts";
