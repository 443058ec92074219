import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toBf16, type Weight, type WeightDtype } from "../../kernels/index.ts";
import {
  bytesOf,
  modelWeights,
  quantizationConfig,
  quantizedDtype,
  readConfig,
  shapeBytes,
  storedTensors,
  writeSafetensors,
  type CheckpointFormat,
  type StoredTensor,
  type WriteBytes,
} from "../../model/index.ts";
import { CODE_SPREAD, NIBBLE_SPREAD, RandomValues } from "./random-values.ts";

interface Tensor extends StoredTensor {
  /** Of the weight that the tensor is a part of. */
  readonly weight: { readonly dtype: WeightDtype; readonly shape: readonly number[] };
}

const WRITE_BYTES = 2 ** 23;
/** Of embedding and router. */
const HALF_SPREAD = 0.1;

/** What a random checkpoint is made of. */
export interface RandomCheckpoint {
  /** As config.json says it. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly seed: number;
  /** By default fp8. */
  readonly format?: CheckpointFormat;
  /** Told the weights' bytes before they are written. */
  readonly expectRoom?: (bytes: number) => Promise<void>;
}

/**
 * Writes a checkpoint of a shape with seeded random weights, so that a machine can be sized before
 * gigabytes are downloaded: linear weights in a format, with their scales, embedding and router in
 * BF16, norms of 1. Equal shapes, seeds and formats give equal files.
 */
export async function writeRandomCheckpoint(
  directory: string,
  { config, seed, format = "fp8", expectRoom = async () => undefined }: RandomCheckpoint,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const architecture = { architectures: ["DeepseekV3ForCausalLM"], hidden_act: "silu" };
  const quantization_config = quantizationConfig(format);
  const text = JSON.stringify({ ...config, ...architecture, quantization_config });
  await writeFile(join(directory, "config.json"), text);
  const tensors = await tensorsOf(directory, format);
  await expectRoom(bytesOf(tensors));
  const values = new RandomValues(seed);
  await writeSafetensors(join(directory, "model.safetensors"), tensors, async (write) => {
    for (const tensor of tensors) await writeTensor(write, tensor, values);
  });
}

/** All tensors the graph asks for, with the scales of those that have them. */
async function tensorsOf(directory: string, format: CheckpointFormat): Promise<Tensor[]> {
  const tensors: Tensor[] = [];
  const weight = (name: string, shape: readonly number[]): Weight => {
    const dtype = dtypeOf(format, name);
    const parts = storedTensors(name, dtype, shape);
    tensors.push(...parts.map((part) => ({ ...part, weight: { dtype, shape } })));
    return { name, dtype, shape, file: directory, offset: 0 };
  };
  modelWeights({ has: () => true, weight }, await readConfig(directory));
  return tensors;
}

function dtypeOf(format: CheckpointFormat, name: string): WeightDtype {
  if (name.endsWith("e_score_correction_bias")) return "F32";
  // FP8 checkpoints are published with a BF16 head; here it is FP8, too.
  if (format === "fp8" && name.startsWith("lm_head.")) return "F8_E4M3";
  return quantizedDtype(format, name) ?? "BF16";
}

async function writeTensor(write: WriteBytes, tensor: Tensor, values: RandomValues): Promise<void> {
  for (let at = 0; at < tensor.bytes; at += WRITE_BYTES) {
    const bytes = new Uint8Array(Math.min(WRITE_BYTES, tensor.bytes - at));
    fill(bytes, tensor, values);
    await write(bytes);
  }
}

/** Weights whose outputs have a spread of about 1. */
function fill(
  bytes: Uint8Array<ArrayBuffer>,
  { name, part, dtype, shape, weight }: Tensor,
  values: RandomValues,
): void {
  const { buffer } = bytes;
  if (part === "shape") bytes.set(shapeBytes(weight.shape));
  else if (part === "scales" && dtype === "F32") new Float32Array(buffer).fill(scaleOf(weight));
  else if (part === "scales") new Uint16Array(buffer).fill(toBf16(scaleOf(weight)));
  else if (weight.dtype === "F8_E4M3") values.write(bytes, values.codes);
  else if (weight.dtype === "I8") values.write(bytes, values.integers);
  else if (weight.dtype === "I4") values.write(bytes, values.nibbles);
  else if (dtype === "BF16" && shape.length === 1) new Uint16Array(buffer).fill(toBf16(1));
  else if (dtype === "BF16") {
    const isLinear = !/embed_tokens|mlp\.gate\.weight/.test(name);
    const spread = isLinear ? 1 / Math.sqrt(shape[1]) : HALF_SPREAD;
    values.write(new Uint16Array(buffer), values.halves(spread));
  }
}

function scaleOf({ dtype, shape }: Tensor["weight"]): number {
  const spread = dtype === "I4" ? NIBBLE_SPREAD : CODE_SPREAD;
  return 1 / (spread * Math.sqrt(shape[shape.length - 1]));
}
