import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  codeBytes,
  SCALE_BLOCK,
  scaleShape,
  toBf16,
  type Weight,
  type WeightDtype,
} from "../../kernels/index.ts";
import {
  bytesOf,
  isScale,
  modelWeights,
  quantizationConfig,
  quantizedDtype,
  readConfig,
  scaleName,
  writeSafetensors,
  type CheckpointFormat,
  type WriteBytes,
} from "../../model/index.ts";
import { CODE_SPREAD, RandomValues } from "./random-values.ts";

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: WeightDtype;
  readonly bytes: number;
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

function tensorOf(name: string, shape: readonly number[], dtype: WeightDtype): Tensor {
  return { name, shape, dtype, bytes: codeBytes(dtype, shape) };
}

/** All tensors the graph asks for, with the scales of those that have them. */
async function tensorsOf(directory: string, format: CheckpointFormat): Promise<Tensor[]> {
  const tensors: Tensor[] = [];
  const weight = (name: string, shape: readonly number[]): Weight => {
    const dtype = dtypeOf(format, name);
    tensors.push(tensorOf(name, shape, dtype));
    const scales = scaleShape(dtype, shape);
    if (scales) tensors.push(tensorOf(scaleName(name, dtype), scales, "F32"));
    return { name, dtype, shape, file: directory, offset: 0 };
  };
  modelWeights({ weight }, await readConfig(directory));
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
  { name, dtype, shape }: Tensor,
  values: RandomValues,
) {
  const columns = shape[shape.length - 1];
  if (isScale(name)) {
    // A column of scales stands for a block of inputs, which may be half empty.
    new Float32Array(bytes.buffer).fill(1 / (CODE_SPREAD * Math.sqrt(columns * SCALE_BLOCK)));
  } else if (dtype === "F8_E4M3") values.write(bytes, values.codes);
  else if (dtype === "I8") values.write(bytes, values.integers);
  else if (dtype === "BF16" && shape.length === 1) new Uint16Array(bytes.buffer).fill(toBf16(1));
  else if (dtype === "BF16") {
    const isLinear = !/embed_tokens|mlp\.gate\.weight/.test(name);
    const spread = isLinear ? 1 / Math.sqrt(columns) : HALF_SPREAD;
    values.write(new Uint16Array(bytes.buffer), values.halves(spread));
  }
}
