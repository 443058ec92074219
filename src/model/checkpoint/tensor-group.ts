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
  "unused",
] as const;

export type TensorGroup = (typeof tensorGroups)[number];

export function groupOf(name: string, { layers }: Pick<ModelConfig, "layers">): TensorGroup {
  const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined && Number(layer) >= layers) return "unused";
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
