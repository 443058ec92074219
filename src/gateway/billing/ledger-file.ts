import { open, stat, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { LedgerError } from "./ledger-error.ts";

/** Which file a name or a handle means. */
type FileIdentity = Pick<Awaited<ReturnType<FileHandle["stat"]>>, "dev" | "ino">;

/** What a ledger needs of its file, which is open for appending and reading. */
export interface LedgerFile extends Pick<
  FileHandle,
  "appendFile" | "close" | "datasync" | "truncate"
> {
  stat(): Promise<FileIdentity & { readonly size: number; readonly nlink: number }>;
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
}

/** Where a ledger's file is, by its path. */
export interface LedgerDisk {
  /** Opens the file or creates it; rejects where it keeps nothing. */
  open(path: string): Promise<LedgerFile>;
  /** Which file has the name now; undefined when none has. */
  identify(path: string): Promise<FileIdentity | undefined>;
}

export const localDisk: LedgerDisk = {
  async open(path) {
    const file = await open(path, "a+", 0o600);
    const found = await file.stat();
    if (found.isFIFO()) {
      await file.close();
      throw new LedgerError("expected a file, got a pipe, which keeps nothing");
    }
    if (found.size === 0) await syncDirectory(dirname(path));
    return file;
  },
  async identify(path) {
    try {
      return await stat(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  },
};

/** Makes a new file's name as durable as what will be in it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
