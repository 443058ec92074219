import { readFileSync } from "node:fs";
import { loadNative } from "../native-addon.ts";

/** Where streams find weights: in their mapped files, or in the process's one copy of them. */
export type WeightMemory = (typeof weightMemories)[number];
export const weightMemories = ["mapped", "resident"] as const;

/** Copies of checkpoint files that this process holds. */
export interface ResidentWeights {
  readonly bytes: number;
  /** How many of them lie in huge pages; undefined where the system does not tell. */
  readonly hugePageBytes: number | undefined;
}

export function residentWeights(): ResidentWeights {
  const files = loadNative().addon?.residentFiles() ?? [];
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const huge = hugePageBytes(readSmaps(), files);
  // A file's last page is longer than the file's end in it.
  return { bytes, hugePageBytes: huge && Math.min(huge, bytes) };
}

/** What the system tells of this process's memory, if it does. */
export function readSmaps(): string | undefined {
  try {
    return readFileSync("/proc/self/smaps", "utf8");
  } catch {
    return undefined;
  }
}

/** Bytes in huge pages, copied or mapped, of the areas that begin in some memory, in the words of /proc/self/smaps. */
export function hugePageBytes(
  smaps: string | undefined,
  memory: readonly { readonly address: number; readonly size: number }[],
  kind: "AnonHugePages" | "FilePmdMapped" = "AnonHugePages",
): number | undefined {
  if (smaps === undefined) return undefined;
  let bytes = 0;
  let counts = false;
  for (const line of smaps.split("\n")) {
    const area = /^([0-9a-f]+)-[0-9a-f]+ /.exec(line);
    if (area) {
      const start = Number.parseInt(area[1], 16);
      counts = memory.some(({ address, size }) => start >= address && start < address + size);
    }
    const [, name, kibibytes] = /^(\w+):\s+(\d+) kB/.exec(line) ?? [];
    if (counts && name === kind) bytes += 1024 * Number(kibibytes);
  }
  return bytes;
}
