export { Repeats } from "./repeats.ts";
export { Speculation } from "./speculation.ts";
