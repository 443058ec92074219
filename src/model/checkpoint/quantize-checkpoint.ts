import { copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  createQuantizedWeight,
  rowBytes,
  type Kernels,
  type Operand,
  type QuantizedDtype,
  type ScaleBlock,
  type ScaleFormat,
  type Stream,
  type Weight,
  type WeightDtype,
} from "../../kernels/index.ts";
import { quantizationConfig, quantizedDtype, type QuantizedFormat } from "./checkpoint-format.ts";
import { INDEX_FILE, openCheckpoint, SINGLE_FILE, type Checkpoint } from "./checkpoint.ts";
import { readConfig, type ModelConfig } from "./config.ts";
import { CheckpointError, type TensorEntry } from "./safetensors.ts";
import {
  bytesOf,
  expectRoom,
  writeSafetensors,
  type TensorLayout,
  type WriteBytes,
} from "./safetensors-writer.ts";
import { isPacked, shapeBytes, storedTensors } from "./stored-weight.ts";
import { groupOf, type TensorGroup } from "./tensor-group.ts";
import { TakenInTurn, TensorReader } from "./tensor-rows.ts";
import { modelWeights } from "./weights.ts";

export interface QuantizeOptions {
  readonly kernels: Kernels;
  readonly format: QuantizedFormat;
  /** Of FP8. */
  readonly scales: ScaleFormat;
  /** Inputs that share a scale, of INT4. */
  readonly group: number;
  /** Told after each piece how much is written of all. */
  readonly onProgress?: (bytes: number, all: number) => void;
  /** Ends the writing, and what was written is removed. */
  readonly signal?: AbortSignal;
}

/** What quantising did to weights of one group, from one dtype to another. */
export interface QuantizedGroup {
  readonly group: TensorGroup;
  readonly from: WeightDtype;
  readonly dtype: QuantizedDtype;
  tensors: number;
  /** Σ (w − ŵ)² and Σ w² */
  lost: number;
  squares: number;
}

/** A tensor of the source: copied, or quantised from its values. */
interface Source {
  readonly entry: TensorEntry;
  readonly layouts: readonly TensorLayout[];
  readonly quantized?: Quantized;
}

interface Quantized {
  readonly from: WeightDtype;
  readonly dtype: QuantizedDtype;
  readonly block: ScaleBlock | undefined;
  /** Of an FP8 source. */
  readonly scale: Weight | undefined;
}

/**
 * Writes a float32, BF16 or FP8 checkpoint again with its linear weights in another format; every
 * other tensor and file is copied. Files are written one after the other through buffers of a few
 * megabytes. The folder appears when all is written.
 *
 * @returns what it did, by group and dtype
 * @throws CheckpointError or ConfigError naming the file and tensor, RangeError without room, the
 * signal's reason
 */
export async function quantizeCheckpoint(
  directory: string,
  target: string,
  options: QuantizeOptions,
): Promise<readonly QuantizedGroup[]> {
  const files = await sourcesOf(directory, options);
  const part = join(dirname(resolve(target)), `${basename(target)}-${process.pid}.part`);
  await expectAbsent(target);
  await mkdir(part, { recursive: true });
  const all = bytesOf([...files.values()].flat().flatMap(({ layouts }) => layouts));
  const writer = new QuantizedWriter(await readConfig(directory), options, all);
  try {
    await expectRoom(part, all);
    await copyOthers(directory, part);
    await writeConfig(directory, part, options);
    for (const [name, sources] of files) await writer.writeFile(join(part, name), sources);
    if (!files.has(SINGLE_FILE)) await writeIndex(join(part, INDEX_FILE), files);
    await rename(part, target);
  } finally {
    await writer.close();
    await rm(part, { recursive: true, force: true });
  }
  return writer.groups;
}

class QuantizedWriter {
  readonly #config: ModelConfig;
  readonly #stream: Stream;
  readonly #reader = new TensorReader();
  readonly #codes = new TakenInTurn(1);
  readonly #signal: AbortSignal | undefined;
  readonly #tell: (bytes: number) => void;
  readonly #groups = new Map<string, QuantizedGroup>();

  constructor(config: ModelConfig, options: QuantizeOptions, all: number) {
    this.#config = config;
    this.#stream = options.kernels.createStream("w8a8", options.scales);
    this.#signal = options.signal;
    let written = 0;
    this.#tell = (bytes) => options.onProgress?.((written += bytes), all);
  }

  get groups(): readonly QuantizedGroup[] {
    return [...this.#groups.values()];
  }

  async close(): Promise<void> {
    this.#stream.close();
    await this.#reader.close();
  }

  async writeFile(path: string, sources: readonly Source[]): Promise<void> {
    const layouts = sources.flatMap((source) => source.layouts);
    await writeSafetensors(path, layouts, async (write) => {
      const written: WriteBytes = async (bytes) => {
        this.#signal?.throwIfAborted();
        await write(bytes);
        this.#tell(bytes.length);
      };
      for (const [i, { entry, quantized }] of sources.entries()) {
        const following = sources[i + 1]?.entry;
        if (quantized) {
          const rows = this.#reader.rows(entry, quantized.scale, following);
          await this.#quantize(written, entry, quantized, rows);
        } else {
          for await (const bytes of this.#reader.chunks(entry, following)) await written(bytes);
        }
      }
    });
  }

  async #quantize(
    write: WriteBytes,
    entry: TensorEntry,
    { from, dtype, block }: Quantized,
    values: AsyncIterable<Operand>,
  ): Promise<void> {
    const group = this.#groupOf(entry.name, from, dtype);
    const scales: Float32Array[] = [];
    for await (const x of values) {
      const rows = x.values.length / x.columns;
      const memory = this.#codes.take(rows * rowBytes(dtype, x.columns));
      const out = createQuantizedWeight(dtype, rows, x.columns, block, memory);
      this.#stream.quantizeWeight(out, x, rows);
      await this.#stream.fence();
      if (out.scales.some(Number.isNaN)) {
        const problem = "holds a value that is not a finite number";
        throw new CheckpointError(entry.file, problem, entry.name);
      }
      out.errors.forEach((sum, i) => (group[i % 2 === 0 ? "lost" : "squares"] += sum));
      scales.push(out.scales);
      await write(out.values);
    }
    for (const part of scales) await write(dtype === "I4" ? halves(part) : bytesIn(part));
    if (dtype === "I4") await write(shapeBytes(entry.shape));
    group.tensors++;
  }

  #groupOf(name: string, from: WeightDtype, dtype: QuantizedDtype): QuantizedGroup {
    const group = groupOf(name, this.#config);
    const key = `${group} ${from} ${dtype}`;
    const own = this.#groups.get(key) ?? { group, from, dtype, tensors: 0, lost: 0, squares: 0 };
    this.#groups.set(key, own);
    return own;
  }
}

const bytesIn = (values: Float32Array | Uint16Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Values that are BF16 already. */
function halves(values: Float32Array): Uint8Array {
  const parts = new Uint16Array(values.buffer, values.byteOffset, 2 * values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = parts[2 * i + 1];
  return bytesIn(out);
}

/** The checkpoint's tensors by file, in the files' order, but for the scales of those quantised. */
async function sourcesOf(directory: string, options: QuantizeOptions) {
  const config = await readConfig(directory);
  const checkpoint = await openCheckpoint(directory, config.quantization);
  modelWeights(checkpoint, config);
  const files = new Map<string, Source[]>();
  const replaced = new Set<string>();
  for (const entry of checkpoint.tensors()) {
    const source = sourceOf(checkpoint, entry, options);
    if (source.quantized?.scale) replaced.add(source.quantized.scale.name);
    const name = basename(entry.file);
    files.set(name, [...(files.get(name) ?? []), source]);
  }
  for (const [name, sources] of files) {
    const kept = sources.filter(({ entry }) => !replaced.has(entry.name));
    files.set(
      name,
      kept.sort((a, b) => a.entry.offset - b.entry.offset),
    );
  }
  return files;
}

function sourceOf(
  checkpoint: Checkpoint,
  entry: TensorEntry,
  { format, group }: QuantizeOptions,
): Source {
  const { name, dtype: from, shape, file } = entry;
  if (isPacked(name)) throw new CheckpointError(file, "is INT4 already", name);
  const dtype = quantizedDtype(format, name);
  if (!dtype) return { entry, layouts: [entry] };
  if (from !== "BF16" && from !== "F32" && (from !== "F8_E4M3" || format === "fp8")) {
    const problem =
      from === "F8_E4M3" ? "is FP8 already" : `expected BF16, F32 or FP8, got ${from}`;
    throw new CheckpointError(file, problem, name);
  }
  const block: ScaleBlock | undefined = dtype === "I4" ? [1, group] : undefined;
  const { scale } = checkpoint.weight(name, shape);
  const layouts = storedTensors(name, dtype, shape, block);
  return { entry, layouts, quantized: { from, dtype, block, scale } };
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

async function writeConfig(directory: string, target: string, options: QuantizeOptions) {
  const config = JSON.parse(await readFile(join(directory, "config.json"), "utf8")) as object;
  const quantization_config = quantizationConfig(options.format, options);
  const text = JSON.stringify({ ...config, quantization_config }, null, 2);
  await writeFile(join(target, "config.json"), `${text}\n`);
}

async function writeIndex(file: string, files: ReadonlyMap<string, readonly Source[]>) {
  const layouts = [...files].map(
    ([name, sources]) => [name, sources.flatMap((source) => source.layouts)] as const,
  );
  const index = {
    metadata: { total_size: bytesOf(layouts.flatMap(([, tensors]) => tensors)) },
    weight_map: Object.fromEntries(
      layouts.flatMap(([name, tensors]) => tensors.map((tensor) => [tensor.name, name])),
    ),
  };
  await writeFile(file, JSON.stringify(index, null, 2));
}
