import { stat } from "node:fs/promises";
import { availableMemory, type WeightMemory } from "../../kernels/index.ts";
import { openCheckpoint } from "../../model/index.ts";
import { EngineError } from "./rank-handle.ts";

/** What a rank's thread takes beside its pool, at the very least: an isolate with this code. */
const THREAD_BYTES = 16 * 2 ** 20;

/** What a model's ranks need on one machine. */
export interface RankMemory {
  readonly ranks: number;
  /** Of each rank. */
  readonly kvMemoryBytes: number;
  /** Processes that the ranks are spread over; each copies the weights where they are resident. */
  readonly nodes: number;
  readonly weights: WeightMemory;
  /** The file of which copies are made, where there is one; otherwise of all of the checkpoint's. */
  readonly packed?: string | undefined;
  readonly modelDirectory: string;
}

/**
 * `models`: what the ranks of each need that are to run beside each other.
 * @throws EngineError where the machine's memory does not hold the ranks, with every number
 */
export async function expectMemory(
  models: readonly RankMemory[],
  available: number = availableMemory(),
): Promise<void> {
  const copied = sum(await Promise.all(models.map(copiedBytes)));
  const ranks = sum(models.map((model) => model.ranks));
  const pools = sum(models.map((model) => model.ranks * model.kvMemoryBytes));
  const threads = ranks * THREAD_BYTES;
  if (pools + threads + copied <= available) return;
  const parts = [
    ...models.map((model) => `${model.ranks} × ${gigabytes(model.kvMemoryBytes)}`),
    `${gigabytes(threads)} for threads`,
    ...(copied > 0 ? [`${gigabytes(copied)} of weights (--weights resident)`] : []),
  ];
  parts[models.length - 1] += " of KV (--kv-memory)";
  throw new EngineError(
    `${ranks} ranks do not fit this machine: ${parts.join(" + ")} are ` +
      `${gigabytes(pools + threads + copied)}, but ${gigabytes(available)} are available`,
  );
}

/** How many more ranks the machine's memory holds, on nodes that have their weights. */
export const roomForRanks = (
  kvMemoryBytes: number,
  available: number = availableMemory(),
): number => Math.max(0, Math.floor(available / (kvMemoryBytes + THREAD_BYTES)));

async function copiedBytes({ weights, nodes, modelDirectory, packed }: RankMemory) {
  return weights === "resident" ? nodes * (await weightBytes(modelDirectory, packed)) : 0;
}

/** Of the files that hold the weights. */
export async function weightBytes(modelDirectory: string, packed?: string): Promise<number> {
  const files = packed === undefined ? (await openCheckpoint(modelDirectory)).files : [packed];
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sum(sizes);
}

const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e8 ? 3 : 1)} GB`;
