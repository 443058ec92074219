import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadNative, type NativeAddon } from "../native-addon.ts";
import { hugePageBytes, readSmaps } from "./resident-weights.ts";

const PROBED_BYTES = 2 ** 24;
const READ_SECONDS = 0.01;

/**
 * Whether files that are written in a folder are mapped in huge pages, which file systems give that
 * keep large folios in the page cache. Writes one; undefined where that fails or the system does not tell.
 */
export function mapsHugePages(folder: string): boolean | undefined {
  const { addon } = loadNative();
  if (!addon) return undefined;
  try {
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `pages.${process.pid}.part`);
    try {
      writeFileSync(path, new Uint8Array(PROBED_BYTES).fill(1));
      return isInHugePages(addon, path);
    } finally {
      rmSync(path, { force: true });
    }
  } catch {
    return undefined;
  }
}

function isInHugePages(addon: NativeAddon, path: string): boolean | undefined {
  const memory = new addon.WeightFiles({ resident: false, threads: 1 }).open(path);
  const [instructionSet] = addon.instructionSets;
  const wanted = { instructionSet, threads: 1, seconds: READ_SECONDS };
  addon.probeRead(wanted, { ...memory, first: 0, together: false });
  const huge = hugePageBytes(readSmaps(), [memory], "FilePmdMapped");
  return huge === undefined ? undefined : huge > 0;
}
