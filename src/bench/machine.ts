import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import {
  availableMemory,
  byMultiplyKind,
  createKernels,
  instructionSets,
  mapsHugePages,
  nativeProblem,
  Probes,
  usableCores,
  usableMemory,
  type ByMultiplyKind,
} from "../kernels/index.ts";

/** What a machine has and does, as far as it decides the kernels' speed. */
export interface Machine {
  readonly platform: string;
  readonly processor: string;
  /** In use; `reference` where no native kernels are. */
  readonly instructionSet: string;
  /** What native kernels could use here, best first. */
  readonly instructionSets: readonly string[];
  /** Why native kernels are not used, if so. */
  readonly nativeProblem: string | null;
  /** Cores this process may run on, and as many as its CPU quota gives it time for. */
  readonly cores: number;
  readonly usableCores: number;
  readonly numaNodes: number;
  /** `always`, `madvise` or `never`; null where the system does not tell. */
  readonly hugePages: string | null;
  /** Whether files in the folder of packed weights are mapped in them; null where that is not known. */
  readonly mapsHugePages: boolean | null;
  /** What this process may use, and what of it is free or given back when asked for. */
  readonly memoryBytes: number;
  readonly availableBytes: number;
  /** Processes that wanted to run in the last minute, on average. */
  readonly load: number;
  readonly speeds: readonly MachineSpeed[];
}

export interface MachineSpeed {
  readonly threads: number;
  readonly readGBs: number;
  /** Billions of operations a second, and the instructions that do them. */
  readonly peaks: ByMultiplyKind<number>;
  readonly instructions: ByMultiplyKind<string>;
}

const PROBE_MS = 100;
const PROBES = 5;

/** `folder`: of packed weights, in which a file is written for a moment. */
export function inspectMachine(folder: string): Machine {
  const problem = nativeProblem();
  const usable = usableCores();
  return {
    platform: `${process.platform} ${process.arch}, Node ${process.version}`,
    processor: cpus()[0]?.model ?? "unknown",
    instructionSet: instructionSetInUse(),
    instructionSets: instructionSets(),
    nativeProblem: problem ?? null,
    cores: availableParallelism(),
    usableCores: usable,
    numaNodes: numaNodes(),
    hugePages:
      /\[(\w+)\]/.exec(read("/sys/kernel/mm/transparent_hugepage/enabled") ?? "")?.[1] ?? null,
    mapsHugePages: mapsHugePages(folder) ?? null,
    memoryBytes: usableMemory(),
    availableBytes: availableMemory(),
    load: Number((read("/proc/loadavg") ?? "0").split(" ")[0]),
    speeds: problem ? [] : [...new Set([1, usable])].map(speedOf),
  };
}

function instructionSetInUse(): string {
  const { name, instructionSet } = createKernels();
  return name === "native" ? instructionSet : name;
}

/** The best of some probes: what the machine does when it is left alone. */
function speedOf(threads: number): MachineSpeed {
  const probes = new Probes({ threads });
  const best = (probe: () => number) => Math.max(...Array.from({ length: PROBES }, probe));
  return {
    threads,
    readGBs: best(() => probes.readBandwidth(PROBE_MS)),
    peaks: byMultiplyKind((kind) => best(() => probes.multiplyPeak(kind, PROBE_MS))),
    instructions: probes.instructions,
  };
}

function numaNodes(): number {
  try {
    const names = readdirSync("/sys/devices/system/node");
    return Math.max(1, names.filter((name) => /^node\d+$/.test(name)).length);
  } catch {
    return 1;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** What to change so that this machine computes faster; nothing where nothing is off. */
export function adviceFor(machine: Machine): string[] {
  const advice: string[] = [];
  const { nativeProblem: problem, instructionSet, instructionSets: sets, speeds } = machine;
  if (problem !== null) {
    advice.push(
      `The reference kernels run, hundreds of times slower than native ones: ${problem}.`,
    );
  } else if (instructionSet !== sets[0]) {
    advice.push(`DAYSIX_ISA keeps the kernels to ${instructionSet}: unset it to use ${sets[0]}.`);
  }
  if (problem === null && sets[0] === "portable") {
    advice.push(
      "No vector instructions that kernels are written for: expect a tenth of the speed.",
    );
  }
  if (machine.usableCores < machine.cores) {
    advice.push(
      `A CPU quota leaves ${machine.usableCores} of ${machine.cores} cores: ` +
        "raise the container's limit, or give ranks no more threads than that.",
    );
  }
  if (machine.numaNodes > 1) {
    advice.push(
      `${machine.numaNodes} NUMA nodes: start a node process on each under ` +
        "`numactl --cpunodebind=N --membind=N`, so that no rank reads the other's memory.",
    );
  }
  if (machine.hugePages === "never") {
    advice.push(
      "Transparent huge pages are off: " +
        "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled` lets `--weights resident` use them.",
    );
  }
  if (machine.mapsHugePages === false) {
    advice.push(
      "Packed weights are mapped in small pages, since their folder's file system keeps no large folios " +
        "(XFS does, ext4 from Linux 6.16 on): `--packed-dir` on another, or `--weights resident`, " +
        "which copies them, spares TLB misses.",
    );
  }
  if (machine.load > machine.cores / 2) {
    advice.push(
      `Others keep ${machine.load.toFixed(1)} of ${machine.cores} cores busy: ` +
        "speeds are lower than the machine's own, and vary.",
    );
  }
  const [one, all] = [speeds[0], speeds[speeds.length - 1]];
  if (speeds.length > 1 && all.peaks.bf16 < 0.7 * all.threads * one.peaks.bf16) {
    const times = (all.peaks.bf16 / one.peaks.bf16).toFixed(1);
    advice.push(
      `${all.threads} threads multiply only ${times} times as fast as one: ` +
        "cores are shared or hyper-threads; give ranks fewer threads.",
    );
  }
  return advice;
}
