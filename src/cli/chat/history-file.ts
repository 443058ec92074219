import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** Lines that are kept. */
export const HISTORY_LINES = 1000;
/** Of a line; what is longer was pasted, and is not kept. */
const LINE_CHARACTERS = 4096;

type Environment = Readonly<Record<string, string | undefined>>;

/** Where what was entered is kept: the XDG state directory. */
export function historyPath(environment: Environment, home = homedir()): string {
  const state = environment["XDG_STATE_HOME"] || join(home, ".local", "state");
  return join(state, "daysix", "chat-history");
}

/** Lines entered before, the newest last in the file; only their owner may read them. */
export class HistoryFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The newest first; none where they cannot be read. */
  read(): string[] {
    try {
      const lines = readFileSync(this.#path, "utf8").split("\n").filter(Boolean);
      return lines.slice(-HISTORY_LINES).reverse();
    } catch {
      return [];
    }
  }

  /** At once, so that a terminal that is closed loses nothing. @throws Error of the file system */
  write(newestFirst: readonly string[]): void {
    const kept = newestFirst.filter((line) => line.length <= LINE_CHARACTERS && line.trim() !== "");
    const lines = kept.slice(0, HISTORY_LINES).reverse();
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    const part = `${this.#path}.${process.pid}`;
    writeFileSync(part, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    renameSync(part, this.#path);
  }
}
