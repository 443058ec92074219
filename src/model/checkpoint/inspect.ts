import { open } from "node:fs/promises";
import {
  isWeightDtype,
  weightFormats,
  type Policy,
  type WeightDtype,
} from "../../kernels/index.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { readConfig, type ModelConfig } from "./config.ts";
import { kvBytesByPolicy } from "./kv-bytes.ts";
import type { TensorEntry } from "./safetensors.ts";
import { CODES_PER_WORD, isAuxiliary, isPacked, storedDtype } from "./stored-weight.ts";
import { groupOf, tensorGroups, type TensorGroup } from "./tensor-group.ts";
import { modelWeights } from "./weights.ts";

/** What a checkpoint holds and what serving it takes. */
export interface Inspection {
  readonly config: ModelConfig;
  readonly parameters: { readonly total: number; readonly activePerToken: number };
  /** Bytes of codes by their dtype, the most first. */
  readonly formats: Readonly<Partial<Record<WeightDtype, number>>>;
  readonly bytes: { readonly total: number } & Readonly<Record<TensorGroup, number>>;
  /** Weights one token reads when it is decoded alone. */
  readonly bytesPerDecodedToken: number;
  readonly kvBytesPerToken: Readonly<Record<Policy, number>>;
  /** Whether the weights and 1 GiB of KV fit the memory given. */
  readonly fits: boolean;
  /** Values that are not finite numbers, one line a tensor; only when verified. */
  readonly problems?: readonly string[];
}

const GIB = 2 ** 30;
const VERIFY_CHUNK_BYTES = 2 ** 24;

/**
 * Reads headers only, unless `verify` asks to read every tensor for codes that are not numbers.
 * @throws CheckpointError, ConfigError naming file and tensor or field
 */
export async function inspectModel(
  directory: string,
  options: { readonly verify: boolean; readonly availableBytes: number },
): Promise<Inspection> {
  const config = await readConfig(directory);
  const checkpoint = await openCheckpoint(directory, config.quantization);
  modelWeights(checkpoint, config);
  const bytes = Object.fromEntries(tensorGroups.map((group) => [group, 0])) as Record<
    TensorGroup,
    number
  >;
  const parameters = { ...bytes };
  const formats = new Map<WeightDtype, number>();
  const problems: string[] = [];
  for (const entry of checkpoint.tensors()) {
    const group = groupOf(entry.name, config);
    bytes[group] += entry.bytes;
    const dtype = storedDtype(entry);
    if (dtype) formats.set(dtype, (formats.get(dtype) ?? 0) + entry.bytes);
    if (!isAuxiliary(entry.name)) {
      const values = entry.shape.reduce((product, side) => product * side, 1);
      parameters[group] += isPacked(entry.name) ? values * CODES_PER_WORD : values;
    }
    const problem = options.verify ? await problemOf(entry) : undefined;
    if (problem) problems.push(`${entry.name} in ${entry.file}: ${problem}`);
  }
  const total = sum(bytes);
  return {
    config,
    parameters: { total: sum(parameters), activePerToken: active(parameters, config) },
    formats: Object.fromEntries([...formats].sort(([, a], [, b]) => b - a)),
    bytes: { total, ...bytes },
    bytesPerDecodedToken: active(bytes, config),
    kvBytesPerToken: kvBytesByPolicy(config),
    fits: total + GIB <= options.availableBytes,
    ...(options.verify ? { problems } : {}),
  };
}

function sum(amounts: Readonly<Record<TensorGroup, number>>): number {
  return tensorGroups.reduce((total, group) => total + amounts[group], 0);
}

/** What one token touches: everything but embedding, experts not chosen, and the layer that drafts. */
function active(amounts: Readonly<Record<TensorGroup, number>>, { gate }: ModelConfig): number {
  const idle = amounts.embedding + amounts.unused + amounts.mtp + amounts.routedExperts;
  return sum(amounts) - idle + Math.round((amounts.routedExperts * gate.topK) / gate.experts);
}

/** Where the values that are not finite numbers begin and how many there are, read in chunks. */
async function problemOf(entry: TensorEntry): Promise<string | undefined> {
  if (!isWeightDtype(entry.dtype)) return undefined;
  const { nonFinite } = weightFormats[entry.dtype];
  if (!nonFinite) return undefined;
  const { Codes, mask } = nonFinite;
  const size = Codes.BYTES_PER_ELEMENT;
  const handle = await open(entry.file, "r");
  const chunk = new Uint8Array(Math.min(VERIFY_CHUNK_BYTES, entry.bytes));
  let first = -1;
  let count = 0;
  try {
    for (let at = 0; at < entry.bytes; at += chunk.length) {
      const length = Math.min(chunk.length, entry.bytes - at);
      const { bytesRead } = await handle.read(chunk, 0, length, entry.offset + at);
      if (bytesRead < length) return "the file ends inside it";
      const found = findNonFinite(new Codes(chunk.buffer, 0, length / size), mask);
      if (first < 0 && found.count > 0) first = at + found.first * size;
      count += found.count;
    }
  } finally {
    await handle.close();
  }
  if (count === 0) return undefined;
  return `not a finite number at byte ${first}; ${count} of ${entry.bytes / size} values are none`;
}

function findNonFinite(codes: Uint8Array | Uint16Array | Uint32Array, mask: number) {
  let first = -1;
  let count = 0;
  for (let i = 0; i < codes.length; i++) {
    if ((codes[i] & mask) !== mask) continue;
    if (count++ === 0) first = i;
  }
  return { first, count };
}
