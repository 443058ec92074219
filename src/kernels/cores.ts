import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/**
 * Cores this process may use: the cores it may run on, but no more whole cores than the CPU quotas
 * of its control groups give it time for.
 */
export function usableCores(): number {
  return coresWithin(availableParallelism(), quotas(readText));
}

/** Of each of so many ranks that share this machine. */
export const coresOfEach = (ranks: number): number =>
  Math.max(1, Math.floor(usableCores() / ranks));

/** At least one core, however small a quota. */
export function coresWithin(cores: number, limits: readonly number[]): number {
  return Math.max(1, Math.floor(Math.min(cores, ...limits)));
}

type Read = (path: string) => string | undefined;

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Quotas, in cores, of the process's control group and those around it (cgroup v2, else v1). */
export function quotas(read: Read): number[] {
  const limits: number[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = line.split(":", 3);
    if (path === undefined) continue;
    if (controllers === "") {
      limits.push(...ancestors(path).map((group) => quotaV2(read, join("/sys/fs/cgroup", group))));
    } else if (controllers.split(",").includes("cpu")) {
      const root = `/sys/fs/cgroup/${controllers}`;
      limits.push(...ancestors(path).map((group) => quotaV1(read, join(root, group))));
    }
  }
  return limits.filter((limit) => limit > 0);
}

function ancestors(path: string): string[] {
  const parts = path.split("/").filter(Boolean);
  return Array.from({ length: parts.length + 1 }, (_, i) => `/${parts.slice(0, i).join("/")}`);
}

/** "max 100000" or "150000 100000": time in each period, in microseconds. */
function quotaV2(read: Read, folder: string): number {
  const [quota, period] = (read(join(folder, "cpu.max")) ?? "max 1").split(" ").map(Number);
  return quota / period;
}

/** -1 means no quota. */
function quotaV1(read: Read, folder: string): number {
  const quota = Number(read(join(folder, "cpu.cfs_quota_us")) ?? -1);
  return quota / Number(read(join(folder, "cpu.cfs_period_us")) ?? 1);
}
