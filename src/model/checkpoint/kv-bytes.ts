import { operandRowBytes, policies, precisions, type Policy } from "../../kernels/index.ts";
import type { ModelConfig } from "./config.ts";

type KvSizes = Pick<ModelConfig, "layers" | "latentRank" | "ropeWidth">;

/** Bytes of one token's KV in one layer. */
export function kvEntryBytes({ latentRank, ropeWidth }: KvSizes, policy: Policy): number {
  const entry = { format: precisions[policy].kv, columns: latentRank + ropeWidth };
  return operandRowBytes(entry).values;
}

/** Bytes of one token's KV in all layers. */
export function kvBytesPerToken(config: KvSizes, policy: Policy): number {
  return config.layers * kvEntryBytes(config, policy);
}

export function kvBytesByPolicy(config: KvSizes): Readonly<Record<Policy, number>> {
  const sizes = policies.map((policy) => [policy, kvBytesPerToken(config, policy)] as const);
  return Object.fromEntries(sizes) as Record<Policy, number>;
}
