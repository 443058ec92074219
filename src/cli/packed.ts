import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Command } from "cac";
import {
  packedFile,
  type PackedFile,
  type PackedModel,
  roomOf,
  userCaches,
} from "../model/index.ts";
import { amount } from "./amount.ts";
import { textOf } from "./arguments.ts";
import { notice } from "./notice.ts";
import { WriteProgress } from "./progress.ts";

/** What is packed, and where. */
export interface Packing extends PackedModel {
  /** Where packed files lie unless the option says otherwise. */
  readonly folder?: string;
  /** Bytes that a folder's disk has free. */
  readonly roomOf?: (folder: string) => Promise<number>;
}

export const packedFolder = join(userCaches(process.env), "daysix", "packed");

/** Adds the option that says where weights are kept as kernels read them fastest. */
export function withPacked(command: Command): Command {
  return command.option(
    "--packed-dir <dir>",
    "Folder for a copy of the weights as kernels read them fastest, made once; off: none. " +
      "By default daysix/packed in the user's cache, if that leaves as much room as it takes",
  );
}

/**
 * The checkpoint's packed file, which is written if it is not there; undefined where kernels like
 * weights as they lie, or have to take them so: then a line says why.
 */
export async function packedOf(
  flags: Readonly<Record<string, unknown>>,
  packing: Packing,
): Promise<string | undefined> {
  const given = flags["packedDir"];
  const asked = given === undefined ? undefined : textOf("packed-dir", given);
  if (asked === "off") return undefined;
  const file = await packedFile(asked ?? packing.folder ?? packedFolder, packing);
  if (!file) return undefined;
  const state = await file.state();
  if (state === "sound") return file.path;
  if (state !== "absent") notice(`${file.path}: ${state.problem}; it is made again`);
  try {
    await mkdir(dirname(file.path), { recursive: true });
    if (asked === undefined) await expectHalfFree(file, packing.roomOf ?? roomOf);
    await write(file);
    return file.path;
  } catch (error) {
    const { message } = error as Error;
    notice(`weights are not packed, which makes decoding slower: ${message}`);
    return undefined;
  }
}

/** @throws RangeError where the disk would have less room than the file takes, which nobody asked for */
async function expectHalfFree({ path, bytes }: PackedFile, room: typeof roomOf): Promise<void> {
  const folder = dirname(path);
  const free = await room(folder);
  if (2 * bytes <= free) return;
  throw new RangeError(
    `${amount(bytes)} are more than half of the ${amount(free)} free in ${folder} ` +
      "(--packed-dir DIR takes them anyway, there or elsewhere; --packed-dir off is silent)",
  );
}

/** @throws RangeError without room, the system's error where it cannot be written */
async function write(file: PackedFile): Promise<void> {
  notice(
    "packs weights as kernels read them fastest, " +
      `once: ${amount(file.bytes)} in ${dirname(file.path)} (--packed-dir: elsewhere, or off)`,
  );
  const progress = new WriteProgress(file.bytes);
  await file.write(progress.show).finally(() => progress.end());
}
