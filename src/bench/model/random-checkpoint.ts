import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeBytes, scaleShape, toBf16, weightFormats, type Weight } from "../../kernels/index.ts";
import {
  bytesOf,
  modelWeights,
  readConfig,
  SCALE_SUFFIX,
  scaleName,
  writeSafetensors,
  type WriteBytes,
} from "../../model/index.ts";
import { CODE_SPREAD, RandomValues } from "./random-values.ts";

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: "F8_E4M3" | "BF16" | "F32";
  readonly bytes: number;
}

const WRITE_BYTES = 2 ** 23;

/**
 * Writes a checkpoint of a shape with seeded random weights, so that a machine can be sized before
 * gigabytes are downloaded: linear weights in FP8 with their scales, embedding and router in BF16,
 * norms of 1. Equal shapes and seeds give equal files.
 * @param config as config.json says it
 * @param expectRoom told the weights' bytes before they are written
 */
export async function writeRandomCheckpoint(
  directory: string,
  config: Readonly<Record<string, unknown>>,
  seed: number,
  expectRoom: (bytes: number) => Promise<void> = async () => undefined,
): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(
    join(directory, "config.json"),
    JSON.stringify({ ...config, architectures: ["DeepseekV3ForCausalLM"], hidden_act: "silu" }),
  );
  const tensors = await tensorsOf(directory);
  await expectRoom(bytesOf(tensors));
  const values = new RandomValues(seed);
  await writeSafetensors(join(directory, "model.safetensors"), tensors, async (write) => {
    for (const tensor of tensors) await writeTensor(write, tensor, values);
  });
}

function tensorOf(name: string, shape: readonly number[], dtype: Tensor["dtype"]): Tensor {
  return { name, shape, dtype, bytes: codeBytes(dtype, shape) };
}

/** All tensors the graph asks for, with the scales of those in FP8. */
async function tensorsOf(directory: string): Promise<Tensor[]> {
  const tensors: Tensor[] = [];
  const weight = (name: string, shape: readonly number[]): Weight => {
    const dtype = dtypeOf(name, shape);
    tensors.push(tensorOf(name, shape, dtype));
    const scales = scaleShape(dtype, shape);
    if (scales) tensors.push(tensorOf(scaleName(name), scales, "F32"));
    return { name, dtype, shape, file: directory, offset: 0 };
  };
  modelWeights({ weight }, await readConfig(directory));
  return tensors;
}

function dtypeOf(name: string, shape: readonly number[]): Tensor["dtype"] {
  if (name.endsWith("e_score_correction_bias")) return "F32";
  const isPlain = shape.length === 1 || /embed_tokens|mlp\.gate\.weight/.test(name);
  return isPlain ? "BF16" : "F8_E4M3";
}

async function writeTensor(write: WriteBytes, tensor: Tensor, values: RandomValues): Promise<void> {
  const columns = tensor.shape[tensor.shape.length - 1];
  for (let at = 0; at < tensor.bytes; at += WRITE_BYTES) {
    const bytes = new Uint8Array(Math.min(WRITE_BYTES, tensor.bytes - at));
    if (tensor.name.endsWith(SCALE_SUFFIX)) {
      // A scale column stands for a block of inputs: outputs get a spread of about 1.
      const [, inputs] = weightFormats.F8_E4M3.scaleBlocks[0];
      new Float32Array(bytes.buffer).fill(1 / (CODE_SPREAD * Math.sqrt(columns * inputs)));
    } else if (tensor.dtype === "F8_E4M3") values.write(bytes, values.codes);
    else if (tensor.dtype === "BF16" && tensor.shape.length === 1) {
      new Uint16Array(bytes.buffer).fill(toBf16(1));
    } else if (tensor.dtype === "BF16") values.write(new Uint16Array(bytes.buffer), values.halves);
    await write(bytes);
  }
}
