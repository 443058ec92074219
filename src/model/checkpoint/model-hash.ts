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
/** The most that is read at once. */
const CHUNK_BYTES = 2 ** 20;
/** Pieces this close are read at once, with what lies between: one read costs as much as some 100 KB. */
const NEAR_BYTES = 2 ** 17;
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
  try {
    const { size } = await handle.stat();
    addField(hash, "size", `${size}`);
    const pieces = bytes === "all" ? chunks({ from: 0, to: size }) : sampled(size, tensors);
    for (const near of nearPieces(pieces)) {
      const { from, to } = around(near);
      const read = await readAll(handle, file, buffer.subarray(0, to - from), from);
      for (const piece of near) hash.update(read.subarray(piece.from - from, piece.to - from));
    }
    return hash.digest("hex");
  } finally {
    await handle.close();
  }
}

/** Bytes of a file, of which the last is before `to`. */
interface Piece {
  readonly from: number;
  readonly to: number;
}

function chunks({ from, to }: Piece): Piece[] {
  return Array.from({ length: Math.ceil((to - from) / CHUNK_BYTES) }, (_, i) => ({
    from: from + i * CHUNK_BYTES,
    to: Math.min(to, from + (i + 1) * CHUNK_BYTES),
  }));
}

/** The header of a file of so many bytes, and its tensors' samples, in ascending order. */
function sampled(size: number, tensors: readonly TensorEntry[]): Piece[] {
  const ordered = [...tensors].sort((a, b) => a.offset - b.offset);
  const samples = ordered.flatMap(({ offset, bytes: length }) =>
    sampledPlaces(length).map((at) => ({
      from: offset + at,
      to: offset + Math.min(length, at + PIECE_BYTES),
    })),
  );
  const header = { from: 0, to: Math.min(size, ...ordered.map(({ offset }) => offset)) };
  return [...chunks(header), ...samples];
}

/** Pieces that are read at once. */
function nearPieces(pieces: readonly Piece[]): Piece[][] {
  const groups: Piece[][] = [];
  for (const piece of pieces) {
    const near = groups.at(-1);
    const isNear =
      near && piece.from - around(near).to <= NEAR_BYTES && piece.to - near[0].from <= CHUNK_BYTES;
    if (isNear) near.push(piece);
    else groups.push([piece]);
  }
  return groups;
}

/** Samples of a tensor of less than two pieces overlap, so that the last to begin is also the last to end. */
const around = (near: readonly Piece[]): Piece => ({ from: near[0].from, to: near.at(-1)!.to });

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
