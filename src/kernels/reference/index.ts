export { createReferenceKernels } from "./reference.ts";
