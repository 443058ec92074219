import { randomBytes } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

/** A packer writes at least so often while it lives. */
const STALE_MS = 600_000;

/** Containers that share a folder number their processes alike. */
const host = hostname().replace(/[^\w-]/g, "_");

/** A file that this process may write before it has its name. */
export function partOf(path: string): string {
  return `${path}.${host}.${process.pid}.${randomBytes(4).toString("hex")}.part`;
}

/** Removes files of packers that were killed: of a process of this host that is gone, or not written for long. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".part")) continue;
    const path = join(folder, name);
    const written = (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
    const [, ofHost, pid] = /\.([\w-]+)\.(\d+)\.\w+\.part$/.exec(name) ?? [];
    const isGone = ofHost === host && !lives(Number(pid));
    if (isGone || Date.now() - written > STALE_MS) await rm(path, { force: true });
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
