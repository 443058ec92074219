/**
 * Files of a model folder, which may come from anywhere: regular files only, opened without waiting, of
 * a size that can be read whole. Every error names the file.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** A file of a model folder that cannot be read for what it is. */
export class ModelFileError extends Error {
  override readonly name = "ModelFileError";
}

/** Every JSON file but the largest: configurations, templates. */
const MOST_BYTES = 16 * 2 ** 20;

/**
 * Opens for reading; a pipe without a writer keeps nobody waiting.
 * @throws ModelFileError where the file is not a regular one, the system's error where there is none
 */
export async function openModelFile(path: string): Promise<FileHandle> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stats = await handle.stat();
  if (stats.isFile()) return handle;
  await handle.close();
  throw new ModelFileError(`${path}: expected a regular file, got ${kindOf(stats)}`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a directory";
  if (stats.isFIFO()) return "a pipe";
  return "a device";
}

/** What lies in a file's place where it was not fetched itself, by how that begins. */
const standIns: readonly (readonly [start: RegExp, what: string])[] = [
  [/^version https:\/\/git-lfs/, "is a Git LFS pointer, not the file itself: run git lfs pull"],
  [/^# xet version/, "is a Xet pointer, not the file itself: fetch it with git xet or daysix pull"],
];

/** A page in place of a file that is no text of tags. */
const PAGE = /^\s*<(!doctype|html|\?xml)/i;

/** What a file is that begins so, other than a model's; undefined where nothing is wrong with it. */
export function standIn(start: Buffer): string | undefined {
  const text = start.toString("latin1");
  if (PAGE.test(text)) return "is a web page, not the file itself: download it again";
  return standIns.find(([beginning]) => beginning.test(text))?.[1];
}

/** Enough of a file to know what else it is. */
export const START_BYTES = 64;

/** @throws as `openModelFile`, where something else lies in the file's place, and where the file is longer than `mostBytes` */
export async function readModelFile(path: string, mostBytes = MOST_BYTES): Promise<Buffer> {
  const handle = await openModelFile(path);
  try {
    const { size } = await handle.stat();
    if (size > mostBytes) {
      throw new ModelFileError(`${path}: expected at most ${mostBytes} bytes, got ${size}`);
    }
    const bytes = Buffer.alloc(size);
    const { bytesRead } = await handle.read(bytes, 0, size, 0);
    const other = standIn(bytes.subarray(0, START_BYTES));
    if (other) throw new ModelFileError(`${path}: ${other}`);
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** As `readModelFile`; undefined where there is no such file, or no such folder. */
export async function readIfThere(path: string, mostBytes?: number): Promise<Buffer | undefined> {
  try {
    return await readModelFile(path, mostBytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** @throws ModelFileError where the bytes are no JSON */
export function parseModelJson(bytes: Buffer, path: string): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (cause) {
    throw new ModelFileError(`${path}: is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}
