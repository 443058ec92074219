import { createRequire } from "node:module";

/** An operation as a command carries it. */
export interface OperationDescription {
  readonly name: string;
  /** What each word after the operation's number holds: an argument, or "argument.field". */
  readonly words: readonly string[];
}

/** What native/host/addon.cc exports. */
export interface NativeAddon {
  /** In the order of their numbers. */
  readonly operations: readonly OperationDescription[];
  /** The instruction sets this machine can run, best first. */
  readonly instructionSets: readonly string[];
  /** The instruction sets that also have faster kernels for single rows, under `name-fast-decode`. */
  readonly fastDecode: readonly string[];
  /** Where a typed array's first value lies. */
  address(array: NodeJS.TypedArray): number;
  /** Asks for huge pages wherever a whole page lies in this memory. */
  preferHugePages(bytes: Uint8Array): void;
  /** Threads a stream gets that wants so many while others run. */
  grantedThreads(wanted: number, running: number, cores: number): number;
  /** Bytes of a weight's strips. */
  stripBytes(shape: AddonStripShape): number;
  /** Copies all strips of a weight. */
  packStrips(out: Uint8Array, source: AddonStripSource, threads: number): void;
  /**
   * Copies strips of a weight in a mapped file, from number `first` on and as many as `out` has room
   * for, on another thread. What was read no longer counts as this process's memory.
   */
  packStripsLater(out: Uint8Array, source: AddonStripSource, first: number): Promise<void>;
  /** Blocks while its threads read; the amount is bytes. */
  probeRead(options: ProbeOptions, memory: ProbedMemory): Probed;
  /** Blocks while its threads multiply; the amount is operations. `kind`: 0 INT8, 1 BF16, 2 float32. */
  probeMultiply(options: ProbeOptions, kind: number): Probed;
  /** What does most multiplications of each kind. */
  multiplyInstructions(instructionSet: string): readonly string[];
  /** The copies of files that this process holds. */
  residentFiles(): readonly FileMemory[];
  readonly WeightFiles: new (options: AddonWeightOptions) => AddonWeightFiles;
  readonly Stream: new (options: AddonStreamOptions) => AddonStream;
}

/** What decides how long strips are. */
export interface AddonStripShape {
  readonly dtype: number;
  readonly rows: number;
  readonly columns: number;
  /** Of INT4. */
  readonly group: number;
  readonly int4: number;
}

/** native/host/strips.h's StripSource. */
export interface AddonStripSource extends AddonStripShape {
  readonly data: number;
  readonly scales: number;
  readonly order: number;
  readonly scaleType: number;
  readonly zeroPoints: number;
  readonly zeroPointBias: number;
}

export interface ProbeOptions {
  readonly instructionSet: string;
  readonly threads: number;
  readonly seconds: number;
}

export interface ProbedMemory {
  readonly address: number;
  /** At least one slice of 4 MiB. */
  readonly size: number;
  /** Number of the slice to begin with. */
  readonly first: number;
  /** Every thread reads all slices by itself. */
  readonly together: boolean;
}

export interface Probed {
  readonly seconds: number;
  readonly amount: number;
}

export interface AddonWeightOptions {
  /** Files that are loaded are copied, by some threads, and not mapped. */
  readonly resident: boolean;
  readonly threads: number;
}

/** Where a file's bytes lie. */
export interface FileMemory {
  readonly address: number;
  readonly size: number;
}

/**
 * Files in memory; each is mapped or copied once in the process, as long as a stream or this object
 * needs it.
 */
export interface AddonWeightFiles {
  /** Mapped, unless the file was loaded. */
  open(path: string): FileMemory;
  load(path: string): FileMemory;
}

export interface AddonStreamOptions {
  readonly header: Int32Array;
  /** [capacity, words of a command] */
  readonly words: Float64Array;
  readonly instructionSet: string;
  readonly threads: number;
  readonly cores: number;
  /** Commands wait for `announce`, which runs short work on its caller's thread. */
  readonly atFence: boolean;
  readonly files: AddonWeightFiles;
  /** Called after `announce` returned false, once the commands have run. */
  readonly onExecuted: () => void;
}

export interface AddonStream {
  readonly threads: number;
  /** What the first failed operation said, or "". */
  readonly failure: string;
  /** Has the stream fail as if an operation had. */
  fail(message: string): void;
  /** Skips what is in the ring and forgets a failure. */
  reset(): void;
  wake(): void;
  /** Waits a moment, or runs them; whether the commands before number `target` have run. */
  announce(target: number): boolean;
  /** Blocks until the ring has a free slot. */
  waitForRoom(): void;
  /** Waits for the running command and skips the rest. */
  close(): void;
}

/** The addon, or why there is none. */
export type LoadedAddon =
  | { readonly addon: NativeAddon; readonly problem?: undefined }
  | { readonly addon?: undefined; readonly problem: string };

const places = [
  "../../build/Release/daysix.node",
  `../../prebuilds/${process.platform}-${process.arch}/daysix.node`,
];

let loaded: LoadedAddon | undefined;

/** Loads the addon that this machine has built, or else the one that came with the package. */
export function loadNative(): LoadedAddon {
  return (loaded ??= load(createRequire(import.meta.url)));
}

function load(require: NodeJS.Require): LoadedAddon {
  const problems: string[] = [];
  for (const place of places) {
    try {
      return { addon: require(place) as NativeAddon };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "MODULE_NOT_FOUND") problems.push(message);
    }
  }
  return { problem: problems[0] ?? "the native kernels are not built; run `npm run build:native`" };
}
