import type { ModelConfig } from "./config.ts";

/** What tensors are for. */
export const tensorGroups = [
  "embedding",
  "head",
  "attention",
  "dense",
  "routedExperts",
  "sharedExperts",
  "router",
  "norms",
  "mtp",
  "unused",
] as const;

export type TensorGroup = (typeof tensorGroups)[number];

/** Embedding and head, which checkpoints repeat in the MTP layer. */
const REPEATED = /\.(embed_tokens|shared_head\.head)\./;

export function groupOf(
  name: string,
  { layers, nextTokenLayers }: Pick<ModelConfig, "layers" | "nextTokenLayers">,
): TensorGroup {
  const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined && Number(layer) >= layers) {
    const isMtp = Number(layer) === layers && nextTokenLayers > 0 && !REPEATED.test(name);
    return isMtp ? "mtp" : "unused";
  }
  if (name.includes("rotary_emb")) return "unused";
  if (name.startsWith("model.embed_tokens.")) return "embedding";
  if (name.startsWith("lm_head.")) return "head";
  if (name.endsWith("norm.weight")) return "norms";
  if (name.includes(".self_attn.")) return "attention";
  if (name.includes(".mlp.experts.")) return "routedExperts";
  if (name.includes(".mlp.shared_experts.")) return "sharedExperts";
  if (name.includes(".mlp.gate.")) return "router";
  return name.includes(".mlp.") ? "dense" : "unused";
}
