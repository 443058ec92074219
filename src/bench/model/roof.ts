import { multiplyKinds, type ByMultiplyKind } from "../../kernels/index.ts";
import type { Operations } from "./step-operations.ts";

/** What a step cannot do without: bytes from memory, and multiplications. */
export interface Work {
  readonly bytes: number;
  readonly operations: Operations;
}

/** How fast a machine is at most, at a time. */
export interface Speeds {
  readonly readGBs: number;
  /** Billions of operations a second. */
  readonly peaks: ByMultiplyKind<number>;
}

export interface Roof {
  readonly milliseconds: number;
  readonly bound: "read" | "arithmetic";
}

/** The slower of two: each byte is read once, and each operation done at the peak of its kind. */
export function roofOf({ bytes, operations }: Work, { readGBs, peaks }: Speeds): Roof {
  const reading = bytes / readGBs / 1e6;
  const multiplying = multiplyKinds.reduce(
    (milliseconds, kind) => milliseconds + operations[kind] / peaks[kind] / 1e6,
    0,
  );
  return multiplying > reading
    ? { milliseconds: multiplying, bound: "arithmetic" }
    : { milliseconds: reading, bound: "read" };
}
