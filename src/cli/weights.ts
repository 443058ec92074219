import type { Command } from "cac";
import { residentWeights, weightMemories, type WeightMemory } from "../kernels/index.ts";
import { amount } from "./amount.ts";
import { oneOf } from "./arguments.ts";

/** Adds the option that says how a checkpoint's files are in memory. */
export function withWeights(command: Command): Command {
  return command.option("--weights <how>", "mapped; or resident: copied, to huge pages if any", {
    default: "mapped",
  });
}

export function weightsOf(flags: Readonly<Record<string, unknown>>): WeightMemory {
  return oneOf("weights", flags["weights"], weightMemories);
}

/** The copies that this process holds, and how much of them huge pages spare the TLB. */
export function describeResident(): string {
  const { bytes, hugePageBytes } = residentWeights();
  const huge = hugePageBytes === undefined ? "unknown" : amount(hugePageBytes);
  return `weights resident: ${amount(bytes)}, in huge pages: ${huge}`;
}
