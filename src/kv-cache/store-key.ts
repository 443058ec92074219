import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { link, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { keyOfText, MOST_KEY_BYTES, newKeyText } from "./key-text.ts";

/**
 * The key that authenticates a directory's blocks: it lies there, in the file `key`, for the owner
 * alone, and is made by the first server that comes.
 * @throws Error naming the file, if it cannot be read or holds something else
 */
export async function openStoreKey(directory: string): Promise<Buffer> {
  const file = join(directory, "key");
  const text = (await read(file)) ?? (await create(file));
  const key = keyOfText(text);
  if (key) return key;
  throw new Error(`cache key ${file} holds something else; without the file blocks begin anew`);
}

/** Undefined if there is no file. */
async function read(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    try {
      const bytes = Buffer.alloc(MOST_KEY_BYTES);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
      return bytes.toString("latin1", 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new Error(`cache key ${path} cannot be read: ${message}`, { cause: error });
  }
}

/** Appears whole, or another server's does that was faster. */
async function create(path: string): Promise<string> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  const text = newKeyText();
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path);
    return text;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return (await read(path)) ?? "";
    throw new Error(`cache key ${path} cannot be made: ${message}`, { cause: error });
  } finally {
    await rm(temporary, { force: true });
  }
}
