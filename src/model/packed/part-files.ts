import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** A packer writes at least so often while it lives. */
const STALE_MS = 600_000;

/** Where this process writes a file before it has its name. */
export function partOf(path: string): string {
  return `${path}.${process.pid}.part`;
}

/** Removes files of packers that were killed: of a process that is gone, or not written for long. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /\.(\d+)\.part$/.exec(name)?.[1];
    if (pid === undefined) continue;
    const path = join(folder, name);
    const written = (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
    // A number may have gone to another process since, this one included.
    const isOver = Number(pid) === process.pid || !lives(Number(pid));
    if (isOver || Date.now() - written > STALE_MS) await rm(path, { force: true });
  }
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Of another user.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
