import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { basename, join } from "node:path";
import { openModelFile, readIfThere } from "../model-file.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { CheckpointError, type TensorEntry } from "./safetensors.ts";

/** In place of tokenizer.json, of which the hash says that it is missing. */
const TIKTOKEN = "tiktoken.model";

/** Small files that decide what a model's tokens and numbers mean; each may be missing. */
const wholeFiles = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  TIKTOKEN,
] as const;

const MOST_WHOLE_BYTES = 64 * 2 ** 20;

/**
 * What is read of each tensor: its first and last bytes and pieces between them, one for every
 * SAMPLE_STRIDE bytes but at most SAMPLE_PIECES; a tensor of one piece whole.
 */
const PIECE_BYTES = 1024;
const SAMPLE_STRIDE = 2 ** 22;
const SAMPLE_PIECES = 64;
/** What is read at once of what is read whole. */
const CHUNK_BYTES = 2 ** 20;
/** Reads that wait for a disk together; Node has four threads for them. */
const FILES_AT_ONCE = 4;

/** Which bytes of a checkpoint's weights a hash covers. */
export type HashedBytes = "sample" | "all";

/**
 * SHA-256, in hex, that tells checkpoints apart: of configuration, tokenizer and chat template, and
 * of every weight file its name, size, header and either a sample of each tensor or all bytes.
 * Where the folder lies and when it was written does not matter.
 * @throws CheckpointError naming the file
 */
export async function modelHash(directory: string, bytes: HashedBytes = "sample"): Promise<string> {
  const hash = createHash("sha256");
  for (const name of wholeFiles) {
    const content = await readIfThere(join(directory, name), MOST_WHOLE_BYTES);
    if (content || name !== TIKTOKEN) addField(hash, name, content ?? "missing");
  }
  const tensors = [...(await openCheckpoint(directory)).tensors()];
  const files = [...new Set(tensors.map(({ file }) => file))].sort();
  const hashes = await inTurns(files, (file) =>
    fileHash(
      file,
      tensors.filter((tensor) => tensor.file === file),
      bytes,
    ),
  );
  files.forEach((file, i) => addField(hash, basename(file), hashes[i]));
  return hash.digest("hex");
}

/** Lengths keep neighbouring fields apart. */
function addField(hash: Hash, name: string, value: string | Buffer): void {
  const bytes = Buffer.from(value);
  hash.update(JSON.stringify([name, bytes.length])).update(bytes);
}

/** Runs FILES_AT_ONCE of the tasks at a time. */
async function inTurns<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) results[i] = await run(items[i]);
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, worker));
  return results;
}

/** In hex, of a file's size, its header, and what is asked of its tensors. */
export async function fileHash(
  file: string,
  tensors: readonly TensorEntry[],
  bytes: HashedBytes,
): Promise<string> {
  const hash = createHash("sha256");
  const handle = await openModelFile(file);
  const buffer = Buffer.alloc(CHUNK_BYTES);
  const add = async (from: number, to: number) => {
    for (let at = from; at < to; at += buffer.length) {
      hash.update(await readAll(handle, file, buffer.subarray(0, to - at), at));
    }
  };
  try {
    const { size } = await handle.stat();
    addField(hash, "size", `${size}`);
    const ordered = [...tensors].sort((a, b) => a.offset - b.offset);
    await add(0, bytes === "all" ? size : Math.min(size, ...ordered.map(({ offset }) => offset)));
    if (bytes === "all") return hash.digest("hex");
    for (const { offset, bytes: length } of ordered) {
      for (const at of sampledPlaces(length)) {
        await add(offset + at, offset + Math.min(length, at + PIECE_BYTES));
      }
    }
    return hash.digest("hex");
  } finally {
    await handle.close();
  }
}

/** Where the pieces of a tensor's sample begin. */
function sampledPlaces(length: number): number[] {
  if (length <= PIECE_BYTES) return [0];
  const pieces = Math.min(SAMPLE_PIECES, 2 + Math.floor(length / SAMPLE_STRIDE));
  return Array.from({ length: pieces }, (_, i) =>
    Math.floor((i * (length - PIECE_BYTES)) / (pieces - 1)),
  );
}

async function readAll(handle: FileHandle, file: string, into: Buffer, at: number) {
  const { bytesRead } = await handle.read(into, 0, into.length, at);
  if (bytesRead < into.length) throw new CheckpointError(file, "became shorter while read");
  return into;
}
