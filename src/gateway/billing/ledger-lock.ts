import { randomUUID } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { readFile, realpath, stat, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { z } from "zod";
import { processExists } from "../../model/index.ts";
import { LedgerError } from "./ledger-error.ts";

/**
 * A server writes its ledger at least once a minute. A lock of another machine or container, whose
 * processes cannot be seen from here, is of a server that is gone after so much silence.
 */
const SILENCE_MS = 3 * 60_000;
/** Servers that start at once may take a lock away from under each other. */
const MOST_TRIES = 10;

const holderSchema = z.object({
  pid: z.int(),
  /** The machine, and the container where process numbers are a container's own. */
  host: z.string(),
  /** Of the machine's start; empty where the system does not tell. */
  boot: z.string(),
  /** Of the process's start, in the system's own unit; empty where it does not tell. */
  start: z.string(),
});

type Holder = z.infer<typeof holderSchema>;

/** What makes sure that one server writes a ledger. */
export interface Lock {
  /** @throws LedgerError when another server has it. */
  assertHeld(): Promise<void>;
  release(): Promise<void>;
}

/** For what many may write, such as a device. */
export const unlocked: Lock = {
  assertHeld: async () => undefined,
  release: async () => undefined,
};

/** A file beside the ledger that says which server writes it. */
export class LedgerLock implements Lock {
  readonly #path: string;
  readonly #text = JSON.stringify({ ...ownHolder(), id: randomUUID() });

  /**
   * `ledger`: a file that exists. A lock whose server is gone is no obstacle.
   * @throws LedgerError naming the server that writes the ledger.
   */
  static async take(this: void, ledger: string, now = Date.now): Promise<Lock> {
    const file = await realpath(ledger);
    if ((await stat(file)).isCharacterDevice()) return unlocked;
    const lock = new LedgerLock(`${file}.lock`);
    for (let tries = 1; !(await lock.#create()); tries++) {
      // As a link that leads nowhere, which is there to be made and not to be read.
      if (tries === MOST_TRIES) {
        throw new LedgerError(
          `${lock.#path} can be neither made nor read; is it a link to nothing?`,
        );
      }
      const found = await readLock(lock.#path);
      if (!found) continue;
      const silentMs = now() - Math.max(found.writtenAt, (await stat(file)).mtimeMs);
      if (isAlive(found.holder, silentMs)) throw lock.#heldBy(found.holder);
      await unlink(lock.#path);
    }
    return lock;
  }

  private constructor(path: string) {
    this.#path = path;
  }

  /** Makes a lock that somebody has removed anew. */
  async assertHeld(): Promise<void> {
    const found = await readLock(this.#path);
    if (found?.text === this.#text || (!found && (await this.#create()))) return;
    throw this.#heldBy(found?.holder);
  }

  async release(): Promise<void> {
    if ((await readLock(this.#path))?.text === this.#text) await unlink(this.#path);
  }

  /** False when there is one. */
  async #create(): Promise<boolean> {
    try {
      await writeFile(this.#path, this.#text, { flag: "wx", mode: 0o600 });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw error;
    }
  }

  #heldBy(holder: Holder | undefined): LedgerError {
    const server = holder
      ? `the server with pid ${holder.pid} on ${holder.host}`
      : "another server";
    return new LedgerError(`${server} writes it, says ${this.#path}`);
  }
}

interface Found {
  readonly text: string;
  /** Undefined where the lock's text is not whole, as after a crash of the machine. */
  readonly holder: Holder | undefined;
  /** Milliseconds since 1970. */
  readonly writtenAt: number;
}

/** Undefined when there is no lock. */
async function readLock(path: string): Promise<Found | undefined> {
  try {
    const { mtimeMs: writtenAt } = await stat(path);
    const text = await readFile(path, "utf8");
    return { text, holder: parseHolder(text), writtenAt };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function parseHolder(text: string): Holder | undefined {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function isAlive(holder: Holder | undefined, silentMs: number): boolean {
  const here = ownHolder();
  if (holder?.host !== here.host) return silentMs < SILENCE_MS;
  return (
    holder.boot === here.boot && processExists(holder.pid) && startOf(holder.pid) === holder.start
  );
}

function ownHolder(): Holder {
  const processes = orEmpty(() => readlinkSync("/proc/self/ns/pid"));
  return {
    pid: process.pid,
    host: processes === "" ? hostname() : `${hostname()} ${processes}`,
    boot: orEmpty(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    start: startOf(process.pid),
  };
}

/** Tells a process from a later one with the same number; empty for one that has ended. */
function startOf(pid: number): string {
  const told = orEmpty(() => readFileSync(`/proc/${pid}/stat`, "utf8"));
  // The name, in brackets, may hold spaces; the state and, 19 fields on, the start come after it.
  const fields = told.slice(told.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? "" : (fields[19] ?? "");
}

/** What Linux tells and other systems do not. */
function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
