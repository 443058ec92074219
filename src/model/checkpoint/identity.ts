import type { Kernels, Policy } from "../../kernels/index.ts";
import { modelHash } from "./model-hash.ts";

/**
 * What a model's bits depend on besides the tokens: equal identities compute equal KV, logits and
 * tokens, so what one rank computed another may use.
 */
export interface NumericIdentity {
  readonly modelHash: string;
  readonly policy: Policy;
  /** Family of the kernels, as `Kernels.name`. */
  readonly kernels: string;
  readonly instructionSet: string;
  readonly numericsVersion: number;
  /** Faster modes that give other bits, sorted by name. */
  readonly modes: readonly string[];
}

/** Raised by every change that alters a bit of KV or logits, which golden-bits.test.ts notices. */
export const NUMERICS_VERSION = 3;

/** @throws CheckpointError naming the file that could not be hashed */
export async function numericIdentity(
  directory: string,
  { kernels, policy }: { readonly kernels: Kernels; readonly policy: Policy },
): Promise<NumericIdentity> {
  return {
    modelHash: await modelHash(directory),
    policy,
    kernels: kernels.name,
    instructionSet: kernels.instructionSet,
    numericsVersion: NUMERICS_VERSION,
    modes: kernels.modes,
  };
}
