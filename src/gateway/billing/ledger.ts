import { setImmediate } from "node:timers/promises";
import { LedgerError } from "./ledger-error.ts";
import { localDisk, type LedgerDisk, type LedgerFile } from "./ledger-file.ts";
import { LedgerLock, type Lock } from "./ledger-lock.ts";
import { encodeRecord, type LedgerRecord } from "./ledger-record.ts";

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const NEWLINE = "\n";
/** Time after which a disk that does not answer is a problem that keeps requests out. */
const SLOW_MS = 10_000;
/** A file that is removed while it is written is written anew, so often. */
const ATTEMPTS = 3;

/**
 * An append-only file of JSON lines. A record is durable when its `append` resolves; those that
 * come together share one sync. One server writes a ledger, any may read it. The file may be
 * removed, renamed or emptied meanwhile: the next record goes to the file that has the name then.
 */
export class Ledger {
  readonly #path: string;
  readonly #disk: LedgerDisk;
  readonly #lock: Lock;
  #file: LedgerFile;
  /** Where the last whole line ended, as far as is known. */
  #end = 0;
  /** What a write that failed may have left, in whole or in part, and from where. */
  #refused: { readonly from: number; readonly bytes: Buffer } | undefined;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  #problem: unknown;
  /** Told of a problem when it begins or becomes another, and of undefined when it is over. */
  onProblem: (problem: unknown) => void = () => {};

  /**
   * Opens or creates a ledger, which no other server can open until this one has closed it.
   * @throws LedgerError naming the path, and the server that has it open.
   */
  static async open(path: string, disk = localDisk, takeLock = LedgerLock.take): Promise<Ledger> {
    let file: LedgerFile | undefined;
    try {
      file = await disk.open(path);
      return new Ledger(path, disk, file, await takeLock(path));
    } catch (error) {
      await file?.close();
      const { message } = error as Error;
      throw new LedgerError(`cannot open the ledger ${path}: ${message}`, { cause: error });
    }
  }

  private constructor(path: string, disk: LedgerDisk, file: LedgerFile, lock: Lock) {
    this.#path = path;
    this.#disk = disk;
    this.#file = file;
    this.#lock = lock;
  }

  /** What the last write failed with, or lacks; undefined once one has succeeded again. */
  get problem(): unknown {
    return this.#problem;
  }

  /**
   * Resolves when the record is on the disk. Rejects when it is not; then no trace of it is left
   * after the next record that is.
   */
  append(record: LedgerRecord): Promise<void> {
    const line = encodeRecord(record) + NEWLINE;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, resolve, reject });
      this.#committing ??= this.#commitAll();
    });
  }

  /**
   * Resolves when what was appended is on the disk, or has failed and left no trace. Rejects when
   * it may have left one; the file is closed and another server may open it all the same.
   */
  async close(): Promise<void> {
    await this.#committing;
    try {
      await this.#cutRefused();
    } finally {
      await this.#file.close().finally(() => this.#lock.release());
    }
  }

  async #commitAll(): Promise<void> {
    // Requests that end in one step of the engine end within one turn of the event loop.
    await setImmediate();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const timer = setTimeout(() => {
        const slow = `${this.#path} is not written within ${SLOW_MS / 1000} s`;
        this.#setProblem(this.#problem ?? new LedgerError(slow));
      }, SLOW_MS);
      try {
        await this.#commit(batch.map(({ line }) => line).join(""));
        this.#setProblem(undefined);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.#setProblem(error);
        for (const { reject } of batch) reject(error);
      }
      clearTimeout(timer);
    }
    this.#committing = undefined;
  }

  #setProblem(problem: unknown): void {
    const isNews = String(problem) !== String(this.#problem);
    this.#problem = problem;
    if (isNews) this.onProblem(problem);
  }

  async #commit(lines: string): Promise<void> {
    await this.#lock.assertHeld();
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      await this.#cutRefused();
      await this.#followName();
      if (await this.#write(lines)) return;
    }
    throw new LedgerError(`${this.#path} is removed or cut as fast as it is written`);
  }

  /** False when the file was removed or cut meanwhile, so that the lines may be lost. */
  async #write(lines: string): Promise<boolean> {
    const { size: from } = await this.#file.stat();
    const bytes = Buffer.from((await this.#endsInLine(from)) ? lines : NEWLINE + lines);
    this.#refused = { from, bytes };
    await this.#file.appendFile(bytes);
    await this.#file.datasync();
    const { size, nlink } = await this.#file.stat();
    this.#refused = undefined;
    this.#end = size;
    return nlink > 0 && size >= from + bytes.length;
  }

  /** A line that a crash has cut short is closed by the next, so that readers see it for what it is. */
  async #endsInLine(size: number): Promise<boolean> {
    if (size === 0 || size === this.#end) return true;
    return (await this.#read(size - 1, 1)).toString() === NEWLINE;
  }

  /**
   * Takes back what a failed write has left, and nothing else.
   * @throws LedgerError once, when it cannot be told any more from what others have written.
   */
  async #cutRefused(): Promise<void> {
    if (!this.#refused) return;
    const { from, bytes } = this.#refused;
    const { nlink } = await this.#file.stat();
    const left = await this.#read(from, bytes.length + 1);
    if (nlink > 0 && left.length > 0) {
      if (!bytes.subarray(0, left.length).equals(left)) {
        this.#refused = undefined;
        throw new LedgerError(
          `${this.#path} was written by somebody else from byte ${from} on, where a write has ` +
            "failed; lines that were refused may be left there",
        );
      }
      await this.#file.truncate(from);
    }
    this.#refused = undefined;
  }

  /** Opens the file that has the name now, where that is another. */
  async #followName(): Promise<void> {
    const named = await this.#disk.identify(this.#path);
    const { dev, ino } = await this.#file.stat();
    if (named?.dev === dev && named.ino === ino) return;
    const before = this.#file;
    this.#file = await this.#disk.open(this.#path);
    this.#end = 0;
    await before.close();
  }

  async #read(from: number, length: number): Promise<Buffer> {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await this.#file.read(buffer, 0, length, from);
    return buffer.subarray(0, bytesRead);
  }
}
