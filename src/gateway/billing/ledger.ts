import { open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { setImmediate } from "node:timers/promises";
import { encodeRecord, type LedgerRecord } from "./ledger-record.ts";

/** The ledger's file cannot be used. */
export class LedgerError extends Error {
  override readonly name = "LedgerError";
}

/** What a ledger needs of its file, which is open for appending. */
export type LedgerFile = Pick<
  FileHandle,
  "appendFile" | "close" | "datasync" | "stat" | "truncate"
>;

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const NEWLINE = 0x0a;

/**
 * An append-only file of JSON lines. A record is durable when its `append` resolves; those that
 * come together share one sync. One process writes a ledger, any may read it.
 */
export class Ledger {
  readonly #file: LedgerFile;
  /** Bytes of whole lines that are on the disk. */
  #size: number;
  /** Whether a failed write may have left bytes after these. */
  #spoilt = false;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #problem: unknown;

  /** `size`: the file's, which ends in a whole line. */
  constructor(file: LedgerFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /**
   * Opens or creates a ledger. A last line that a crash has cut short is closed with a newline, so
   * that readers see it for what it is and no line is lost with it.
   * @throws LedgerError naming the path.
   */
  static async open(path: string): Promise<Ledger> {
    try {
      const file = await open(path, "a+", 0o600);
      const { size } = await file.stat();
      if (size === 0) await syncDirectory(dirname(path));
      else if (!(await endsInNewline(file, size))) await file.appendFile("\n");
      return new Ledger(file, (await file.stat()).size);
    } catch (error) {
      const { message } = error as Error;
      throw new LedgerError(`cannot open the ledger ${path}: ${message}`, { cause: error });
    }
  }

  /** What the last write failed with; undefined once one has succeeded again. */
  get problem(): unknown {
    return this.#problem;
  }

  /**
   * Resolves when the record is on the disk. Rejects when it is not; then no trace of it is left
   * after the next record that is.
   */
  append(record: LedgerRecord): Promise<void> {
    const line = `${encodeRecord(record)}\n`;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  /** Resolves when what was appended is on the disk, or has failed and left no trace if it can. */
  async close(): Promise<void> {
    await this.#committing;
    if (this.#spoilt) await this.#file.truncate(this.#size).catch(() => {});
    await this.#file.close();
  }

  async #commitAll(): Promise<void> {
    // Requests that end in one step of the engine end within one turn of the event loop.
    await setImmediate();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#commit(Buffer.from(batch.map(({ line }) => line).join("")));
        this.#problem = undefined;
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.#problem = error;
        for (const { reject } of batch) reject(error);
      }
    }
    this.#committing = undefined;
  }

  async #commit(bytes: Buffer): Promise<void> {
    if (this.#spoilt) await this.#file.truncate(this.#size);
    const { size } = await this.#file.stat();
    if (size !== this.#size) {
      throw new LedgerError(
        `the ledger has ${size} bytes, expected ${this.#size}: somebody else writes it`,
      );
    }
    this.#spoilt = true;
    await this.#file.appendFile(bytes);
    await this.#file.datasync();
    this.#size += bytes.length;
    this.#spoilt = false;
  }
}

async function endsInNewline(file: FileHandle, size: number): Promise<boolean> {
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] === NEWLINE;
}

/** Makes a new file's name as durable as what will be in it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
