import {
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  codeBytes,
  createQuantizedWeight,
  QUANTIZED_DTYPE,
  scaleShape,
  storedOperand,
  weightFormats,
  type Kernels,
  type Operand,
  type ScaleFormat,
  type Stream,
  type WeightDtype,
} from "../../kernels/index.ts";
import { quantizationConfig, quantizedDtype } from "./checkpoint-format.ts";
import { INDEX_FILE, openCheckpoint, scaleName, SINGLE_FILE } from "./checkpoint.ts";
import { readConfig } from "./config.ts";
import { CheckpointError, type TensorEntry } from "./safetensors.ts";
import {
  bytesOf,
  expectRoom,
  writeSafetensors,
  type TensorLayout,
  type WriteBytes,
} from "./safetensors-writer.ts";
import { modelWeights } from "./weights.ts";

export interface QuantizeOptions {
  readonly kernels: Kernels;
  readonly scales: ScaleFormat;
  /** Told each file when it is written. */
  readonly onFile?: (name: string, bytes: number) => void;
}

const scaleBlock = weightFormats[QUANTIZED_DTYPE].scaleBlocks[0];

/** Read at once: whole rows of blocks of any released model's weights. */
const CHUNK_BYTES = 2 ** 24;

/**
 * Writes a float32 or BF16 checkpoint again with its linear weights in FP8, one scale for each
 * block, as DeepSeek-V3's is published; every other tensor and file is copied. Files are
 * written one after the other through a buffer of a few megabytes. The folder appears when all is
 * written.
 *
 * @throws CheckpointError or ConfigError naming the file and tensor, RangeError without room
 */
export async function quantizeCheckpoint(
  directory: string,
  target: string,
  options: QuantizeOptions,
): Promise<void> {
  const files = await readFiles(directory);
  const part = join(dirname(resolve(target)), `${basename(target)}-${process.pid}.part`);
  await expectAbsent(target);
  await mkdir(part, { recursive: true });
  const stream = options.kernels.createStream("w8a8", options.scales);
  try {
    await expectRoom(part, bytesOf([...files.values()].flat().flatMap(layoutsOf)));
    await copyOthers(directory, part);
    await writeConfig(directory, part, options.scales);
    for (const [name, entries] of files) {
      const layouts = entries.flatMap(layoutsOf);
      await writeSafetensors(join(part, name), layouts, async (write) => {
        for (const entry of entries) await writeTensor(write, entry, stream);
      });
      options.onFile?.(name, bytesOf(layouts));
    }
    if (!files.has(SINGLE_FILE)) await writeIndex(join(part, INDEX_FILE), files);
    await rename(part, target);
  } finally {
    stream.close();
    await rm(part, { recursive: true, force: true });
  }
}

/** The checkpoint's tensors by file, in the files' order. */
async function readFiles(directory: string): Promise<Map<string, TensorEntry[]>> {
  const config = await readConfig(directory);
  const checkpoint = await openCheckpoint(directory);
  modelWeights(checkpoint, config);
  const files = new Map<string, TensorEntry[]>();
  for (const entry of checkpoint.tensors()) {
    if (entry.dtype === QUANTIZED_DTYPE) {
      throw new CheckpointError(entry.file, "is FP8 already", entry.name);
    }
    if (isLinear(entry) && entry.dtype !== "BF16" && entry.dtype !== "F32") {
      throw new CheckpointError(entry.file, `expected BF16 or F32, got ${entry.dtype}`, entry.name);
    }
    const name = basename(entry.file);
    files.set(name, [...(files.get(name) ?? []), entry]);
  }
  for (const entries of files.values()) entries.sort((a, b) => a.offset - b.offset);
  return files;
}

const isLinear = ({ name }: TensorEntry) => quantizedDtype("fp8", name) !== undefined;

function layoutsOf(entry: TensorEntry): TensorLayout[] {
  if (!isLinear(entry)) return [entry];
  const { name, shape } = entry;
  const layoutOf = (tensor: string, dtype: WeightDtype, sides: readonly number[]) => ({
    ...{ name: tensor, dtype, shape: sides, bytes: codeBytes(dtype, sides) },
  });
  const scales = scaleShape(QUANTIZED_DTYPE, shape)!;
  return [
    layoutOf(name, QUANTIZED_DTYPE, shape),
    layoutOf(scaleName(name, QUANTIZED_DTYPE), "F32", scales),
  ];
}

async function writeTensor(write: WriteBytes, entry: TensorEntry, stream: Stream) {
  if (!isLinear(entry)) {
    for await (const bytes of chunksOf(entry, CHUNK_BYTES)) await write(bytes);
    return;
  }
  const [, columns] = entry.shape;
  const rowBytes = entry.bytes / entry.shape[0];
  const [blockRows] = scaleBlock;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes / blockRows)) * blockRows;
  const scales: Float32Array[] = [];
  for await (const bytes of chunksOf(entry, chunkRows * rowBytes)) {
    const rows = bytes.length / rowBytes;
    const out = createQuantizedWeight(rows, columns);
    stream.quantizeWeight(out, operandOf(entry, bytes, columns), rows);
    await stream.fence();
    if (out.scales.some(Number.isNaN)) {
      throw new CheckpointError(
        entry.file,
        "holds a value that is not a finite number",
        entry.name,
      );
    }
    scales.push(out.scales);
    await write(out.values);
  }
  for (const part of scales) await write(new Uint8Array(part.buffer));
}

function operandOf({ dtype }: TensorEntry, bytes: Uint8Array, columns: number): Operand {
  const Values = dtype === "BF16" ? Uint16Array : Float32Array;
  const count = bytes.length / Values.BYTES_PER_ELEMENT;
  return storedOperand(new Values(bytes.buffer as ArrayBuffer, 0, count), columns);
}

/** A tensor's bytes, each chunk in memory of its own. */
async function* chunksOf(entry: TensorEntry, most: number): AsyncGenerator<Uint8Array> {
  const handle = await open(entry.file, "r");
  try {
    for (let at = 0; at < entry.bytes; at += most) {
      const bytes = new Uint8Array(Math.min(most, entry.bytes - at));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, entry.offset + at);
      if (bytesRead < bytes.length) {
        throw new CheckpointError(entry.file, "ends inside the tensor", entry.name);
      }
      yield bytes;
    }
  } finally {
    await handle.close();
  }
}

async function expectAbsent(target: string): Promise<void> {
  const present = await readdir(target).catch(() => undefined);
  if (present) throw new RangeError(`${target} is there already`);
}

/** Tokenizer, template and whatever else is no weight. */
async function copyOthers(directory: string, target: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const isWeights = /\.(safetensors|safetensors\.index\.json|bin|pth?|gguf)$/.test(name);
    const path = join(directory, name);
    if (isWeights || !(await stat(path)).isFile()) continue;
    await copyFile(path, join(target, name));
  }
}

async function writeConfig(directory: string, target: string, scales: ScaleFormat): Promise<void> {
  const config = JSON.parse(await readFile(join(directory, "config.json"), "utf8")) as object;
  const quantization_config = quantizationConfig("fp8", scales);
  const text = JSON.stringify({ ...config, quantization_config }, null, 2);
  await writeFile(join(target, "config.json"), `${text}\n`);
}

async function writeIndex(file: string, files: ReadonlyMap<string, TensorEntry[]>) {
  const layouts = [...files].map(([name, entries]) => [name, entries.flatMap(layoutsOf)] as const);
  const index = {
    metadata: { total_size: bytesOf(layouts.flatMap(([, tensors]) => tensors)) },
    weight_map: Object.fromEntries(
      layouts.flatMap(([name, tensors]) => tensors.map((tensor) => [tensor.name, name])),
    ),
  };
  await writeFile(file, JSON.stringify(index, null, 2));
}
