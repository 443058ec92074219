import type { Kernels, Policy } from "../../kernels/index.ts";
import { modelHash, type HashedBytes } from "./model-hash.ts";

/** Which checkpoint it is. */
export interface ModelIdentity {
  readonly modelHash: string;
  /** What of the weights was read to tell. */
  readonly modelBytes: HashedBytes;
}

/**
 * What a model's bits depend on besides the tokens: equal identities compute equal KV, logits and
 * tokens, so what one rank computed another may use.
 */
export interface NumericIdentity extends ModelIdentity {
  readonly policy: Policy;
  /** Those of the kernels under the policy, as `Kernels.bitsOf` names them. */
  readonly bits: string;
  readonly numericsVersion: number;
  /** Whether the MTP layer's KV is kept, in a plane behind the others. */
  readonly mtp?: true;
}

/** Raised by every change that alters a bit of KV or logits, which golden-bits.test.ts notices. */
export const NUMERICS_VERSION = 4;

/** @throws CheckpointError naming the file that could not be hashed */
export async function modelIdentity(
  directory: string,
  modelBytes: HashedBytes,
): Promise<ModelIdentity> {
  return { modelHash: await modelHash(directory, modelBytes), modelBytes };
}

export interface NumericChoices {
  readonly kernels: Kernels;
  readonly policy: Policy;
  readonly mtp?: boolean | undefined;
}

export function numericIdentity(
  model: ModelIdentity,
  { kernels, policy, mtp }: NumericChoices,
): NumericIdentity {
  return {
    ...model,
    policy,
    bits: kernels.bitsOf(policy),
    numericsVersion: NUMERICS_VERSION,
    ...(mtp === true && { mtp }),
  };
}
