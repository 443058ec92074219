import { randomBytes } from "node:crypto";
import { readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { processExists } from "../process-exists.ts";

/** A packer writes at least so often while it lives. */
const STALE_MS = 600_000;

/** Containers that share a folder number their processes alike. */
const host = hostname().replace(/[^\w-]/g, "_");

/** A file that this process may write before it has its name. */
export function partOf(path: string): string {
  return `${path}.${host}.${process.pid}.${randomBytes(4).toString("hex")}.part`;
}

/** How parts are named: another program's files that end alike are its own. */
const partName = /\.safetensors\.([\w-]+)\.(\d+)\.[0-9a-f]{8}\.part$/;

/** Removes files of packers that were killed: of a process of this host that is gone, or not written for long. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const [, ofHost, pid] = partName.exec(entry.name) ?? [];
    if (ofHost === undefined || !entry.isFile()) continue;
    const path = join(folder, entry.name);
    const written = (await stat(path).catch(() => undefined))?.mtimeMs ?? 0;
    const isGone = ofHost === host && !processExists(Number(pid));
    if (isGone || Date.now() - written > STALE_MS) await rm(path, { force: true });
  }
}
