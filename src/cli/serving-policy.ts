import type { Policy } from "../kernels/index.ts";
import { defaultPolicy } from "../model/index.ts";
import { policyHelp, policyOf } from "./arguments.ts";
import { notice } from "./notice.ts";

export const servingPolicyHelp = `${policyHelp}; by default int8 for integer weights, else w8a16`;

/** The policy asked for, or the checkpoint's default, which is told: it is part of answers' identity. */
export async function servingPolicyOf(value: unknown, directory: string): Promise<Policy> {
  if (value !== undefined) return policyOf(value);
  const policy = await defaultPolicy(directory);
  const weights = policy === "int8" ? "are integers" : "are no integers";
  notice(`policy ${policy}, since weights of ${directory} ${weights}`);
  return policy;
}
