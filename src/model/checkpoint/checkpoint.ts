import { access, readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import {
  isWeightDtype,
  scaleBlockOf,
  scaleShape,
  weightFormats,
  type Weight,
} from "../../kernels/index.ts";
import { parseModelJson, readModelFile } from "../model-file.ts";
import { packedWeight } from "./packed-weight.ts";
import { plainQuantization, type Quantization } from "./quantization-config.ts";
import { scaleNames } from "./stored-weight.ts";
import { CheckpointError, isObject, readSafetensors, type TensorEntry } from "./safetensors.ts";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** What multimodal checkpoints put before the names of their language model's tensors. */
const LANGUAGE_MODEL = /^language_model\./;

/** Twice the largest published. */
const MOST_INDEX_BYTES = 32 * 2 ** 20;

/** Checked in one plain loop: a large model has a hundred thousand tensors. */
const filesByTensor = z
  .custom<Record<string, string>>(isObject, "expected tensors' files by name")
  .refine((map) => Object.values(map).every((shard) => typeof shard === "string"), {
    error: "expected a file's name for each tensor",
  });

const indexSchema = z.looseObject({ weight_map: filesByTensor });

/** Where copies of weights in strips lie, by the weights' names. */
export type StripPlaces = ReadonlyMap<string, NonNullable<Weight["strips"]>>;

/**
 * A checkpoint in Hugging Face's layout: one file, or shards named by an index. `quantization` is what
 * its config says of weights whose tensors do not; `strips` are copies of its weights elsewhere.
 */
export async function openCheckpoint(
  directory: string,
  quantization = plainQuantization,
  strips: StripPlaces = new Map(),
): Promise<Checkpoint> {
  const indexFile = join(directory, INDEX_FILE);
  const entries = (await exists(indexFile))
    ? await readShards(directory, indexFile)
    : await readSafetensors(await singleFile(directory));
  const named = entries.map((entry) => {
    const name = entry.name.replace(LANGUAGE_MODEL, "");
    return [name, { ...entry, name }] as const;
  });
  return new Checkpoint(directory, new Map(named), quantization, strips);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function singleFile(directory: string): Promise<string> {
  const file = join(directory, SINGLE_FILE);
  if (await exists(file)) return file;
  const names = await readdir(directory).catch(() => {
    throw new CheckpointError(directory, "is not a readable directory");
  });
  for (const name of names) {
    if (/\.(gguf|bin|pt|pth)$/.test(name)) {
      const format = name.endsWith(".gguf") ? "GGUF" : "PyTorch";
      throw new CheckpointError(
        join(directory, name),
        `is a ${format} file; ${SINGLE_FILE} is needed`,
      );
    }
  }
  throw new CheckpointError(directory, `has neither ${SINGLE_FILE} nor ${INDEX_FILE}`);
}

async function readShards(directory: string, indexFile: string): Promise<TensorEntry[]> {
  const weightMap = await readIndex(indexFile);
  const shards = new Map<string, Map<string, TensorEntry>>();
  for (const shard of new Set(Object.values(weightMap))) {
    if (basename(shard) !== shard) {
      throw new CheckpointError(indexFile, `shard name ${JSON.stringify(shard)} leaves the folder`);
    }
    const file = join(directory, shard);
    if (!(await exists(file))) throw new CheckpointError(indexFile, `shard ${shard} is missing`);
    const entries = await readSafetensors(file);
    shards.set(shard, new Map(entries.map((entry) => [entry.name, entry])));
  }
  return Object.entries(weightMap).map(([name, shard]) => {
    const entry = shards.get(shard)?.get(name);
    if (!entry) throw new CheckpointError(join(directory, shard), "is missing", name);
    return entry;
  });
}

async function readIndex(indexFile: string): Promise<Record<string, string>> {
  const json = parseModelJson(await readModelFile(indexFile, MOST_INDEX_BYTES), indexFile);
  const parsed = indexSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CheckpointError(indexFile, `${issue.path.join(".") || "the file"}: ${issue.message}`);
  }
  return parsed.data.weight_map;
}

/** Tensors by name; opening one reads headers only, and weights are handed out as handles. */
export class Checkpoint {
  readonly directory: string;
  readonly #entries: ReadonlyMap<string, TensorEntry>;
  readonly #quantization: Quantization;
  readonly #strips: StripPlaces;

  constructor(
    directory: string,
    entries: ReadonlyMap<string, TensorEntry>,
    quantization: Quantization,
    strips: StripPlaces,
  ) {
    this.directory = directory;
    this.#entries = entries;
    this.#quantization = quantization;
    this.#strips = strips;
  }

  /** The files that hold tensors. */
  get files(): readonly string[] {
    return [...new Set([...this.#entries.values()].map(({ file }) => file))];
  }

  tensors(): Iterable<TensorEntry> {
    return this.#entries.values();
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** The handle of a weight of this shape, with its scales where its format has them. */
  weight(name: string, shape: readonly number[]): Weight {
    const weight = this.#weight(name, shape);
    const strips = this.#strips.get(name);
    return strips ? { ...weight, strips } : weight;
  }

  #weight(name: string, shape: readonly number[]): Weight {
    const find = (tensor: string) => this.#entries.get(tensor);
    const packed = packedWeight(name, shape, find, this.#quantization.zeroPointBias);
    if (packed) return packed;
    const entry = this.#entries.get(name);
    if (!entry) throw new CheckpointError(this.directory, "is missing", name);
    const { dtype, file, offset } = entry;
    expectShape(entry, shape);
    if (!isWeightDtype(dtype) || dtype === "F8_E8M0") {
      throw new CheckpointError(file, `dtype ${dtype} is not supported for a weight`, name);
    }
    const weight: Weight = { name, dtype, shape, file, offset };
    const { scaleBlocks } = weightFormats[dtype];
    return scaleBlocks.length > 0 ? { ...weight, scale: this.#scalesOf(weight) } : weight;
  }

  #scalesOf({ name, dtype, shape, file }: Weight): Weight {
    const names = scaleNames(name);
    const scales = names.map((each) => this.#entries.get(each)).find((entry) => entry);
    if (!scales) throw new CheckpointError(file, `${dtype} without ${names.join(" or ")}`, name);
    if (!scaleBlockOf(dtype, shape, scales.shape)) {
      const expected = weightFormats[dtype].scaleBlocks.map(
        (block) => `[${scaleShape(dtype, shape, block)?.join(", ")}]`,
      );
      const problem = `expected shape ${expected.join(" or ")}, got [${scales.shape.join(", ")}]`;
      throw new CheckpointError(scales.file, problem, scales.name);
    }
    const { name: scaleName, dtype: type, shape: sides, file: scaleFile, offset } = scales;
    const { scaleTypes } = weightFormats[dtype];
    if (!isWeightDtype(type) || !scaleTypes.includes(type)) {
      const problem = `expected ${scaleTypes.join(" or ")}, got ${type}`;
      throw new CheckpointError(scaleFile, problem, scaleName);
    }
    return { name: scaleName, dtype: type, shape: sides, file: scaleFile, offset };
  }
}

function expectShape({ file, name, shape }: TensorEntry, expected: readonly number[]): void {
  if (String(shape) === String(expected)) return;
  const problem = `expected shape [${expected.join(", ")}], got [${shape.join(", ")}]`;
  throw new CheckpointError(file, problem, name);
}
