import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Policy } from "../../kernels/index.ts";
import { expectRoom, packedFile, processExists, type CheckpointFormat } from "../../model/index.ts";
import { writeRandomCheckpoint } from "./random-checkpoint.ts";
import { shapes, type ShapeName } from "./shapes.ts";

/** Changes with what writeRandomCheckpoint writes. */
const VERSION = 2;
const SEED = 1;

/** Where the benches' one checkpoint lies. */
export const checkpointCache = join(tmpdir(), "daysix-bench");

/**
 * The folder of a random checkpoint of a shape and format, written where it is not there from an earlier bench.
 * Checkpoints are large: the cache keeps the last one only.
 *
 * @throws RangeError where the disk has no room
 */
export async function cachedCheckpoint(
  shape: ShapeName,
  layers: number,
  format: CheckpointFormat,
  folder = checkpointCache,
): Promise<string> {
  const name = `${shape}-${layers}-layers-${format}-seed-${SEED}-v${VERSION}`;
  const directory = join(folder, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const present = await readdir(folder);
  if (present.includes(name)) return directory;
  for (const other of present) {
    if (!isBeingWritten(other)) await rm(join(folder, other), { recursive: true });
  }
  const written = `${directory}-${process.pid}.part`;
  try {
    const config = { ...shapes[shape], num_hidden_layers: layers };
    await writeRandomCheckpoint(written, {
      ...{ config, seed: SEED, format },
      expectRoom: (bytes) => expectRoom(folder, bytes),
    });
    await rename(written, directory);
  } finally {
    await rm(written, { recursive: true, force: true });
  }
  return directory;
}

/** Where a checkpoint of the cache has its packed file: with it, so that both are gone at once. */
export const packedFolderOf = (directory: string): string => join(directory, "packed");

/** The packed file of a checkpoint of the cache, written where it is not there; undefined where kernels like none. */
export async function packedCheckpoint(
  directory: string,
  policy: Policy,
): Promise<string | undefined> {
  const file = await packedFile(packedFolderOf(directory), { modelDirectory: directory, policy });
  if (file && (await file.state()) !== "sound") {
    await file.write(() => undefined);
  }
  return file?.path;
}

/** Whether another bench, still alive, is writing the folder. */
function isBeingWritten(name: string): boolean {
  const [, pid] = /-(\d+)\.part$/.exec(name) ?? [];
  return pid !== undefined && processExists(Number(pid));
}
