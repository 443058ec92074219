export type { Constraint, Thinking } from "./constraint.ts";
export { MaskWorker } from "./mask-worker.ts";
export { TextWorker } from "./text-worker.ts";
