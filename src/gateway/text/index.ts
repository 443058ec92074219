export { type Constraint, MaskWorker } from "./mask-worker.ts";
export { TextWorker } from "./text-worker.ts";
