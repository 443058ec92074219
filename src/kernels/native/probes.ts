import {
  loadNative,
  type AddonWeightOptions,
  type NativeAddon,
  type Probed,
} from "../native-addon.ts";
import { availableMemory } from "../memory.ts";
import {
  byMultiplyKind,
  multiplyKinds,
  type ByMultiplyKind,
  type MultiplyKind,
  type Policy,
} from "../policy.ts";
import { chooseInstructionSet, kernelsUnder } from "./native.ts";
import type { WeightMemory } from "./resident-weights.ts";

export interface ProbesOptions {
  readonly threads: number;
  /** By default what DAYSIX_ISA names, else the best this machine has. */
  readonly instructionSet?: string;
  /** Whose kernels are to be measured against the peaks; by default kernels may use all instructions. */
  readonly policy?: Policy;
  /** A file to read, best in the page cache; by default memory of the probes' own. */
  readonly file?: string;
  /** How the file is in memory: by default mapped. */
  readonly weights?: WeightMemory;
}

/** native/host/probe.h's. */
const SLICE_BYTES = 2 ** 22;
/** More than caches hold for long while gigabytes pass through them. */
const OWN_BYTES = 2 ** 30;
/** Of the memory that is available, at most a quarter: probes follow one another, and a group may be small. */
const MEMORY_SHARE = 4;
const PAGE_BYTES = 4096;
const READ_THROUGH_MS = 100;

interface Memory {
  readonly address: number;
  readonly size: number;
  /** Holds the memory. */
  readonly owner: object;
}

/**
 * Roofs to measure kernels against: how fast threads read memory and multiply at this moment. On a
 * shared machine both drift within seconds, so probes are taken between the measurements they are
 * compared with, on as many threads and for as long. A probe blocks its caller, one of the threads.
 */
export class Probes {
  readonly threads: number;
  /** The instructions that do most multiplications. */
  readonly instructions: ByMultiplyKind<string>;
  readonly #kernels: string;
  readonly #addon: NativeAddon;
  readonly #memory: Memory;
  /** Probes read slices in turn, so that no slice is in a cache from the probe before. */
  #next = 0;

  /** @throws Error where there are no native kernels */
  constructor({ threads, instructionSet, policy, file, weights }: ProbesOptions) {
    const { addon, problem } = loadNative();
    if (!addon) throw new Error(problem);
    this.#addon = addon;
    this.threads = threads;
    const chosen = chooseInstructionSet(addon.instructionSets, instructionSet);
    this.#kernels = policy ? kernelsUnder(policy, chosen, chosen) : chosen;
    const instructions = addon.multiplyInstructions(this.#kernels);
    this.instructions = byMultiplyKind((_, number) => instructions[number]);
    const how = { resident: weights === "resident", threads };
    this.#memory = file === undefined ? ownMemory(addon) : fileMemory(addon, file, how);
  }

  /** Reads the whole memory once, and so brings a file into the page cache. */
  readThrough(): void {
    const slices = Math.ceil(this.#memory.size / SLICE_BYTES);
    for (let read = 0; read < slices;) read += this.#read(READ_THROUGH_MS, false).slices;
  }

  /** GB/s of all threads, each reading other bytes. */
  readBandwidth(milliseconds: number): number {
    return this.#read(milliseconds, false).rate;
  }

  /** GB/s of all threads where each reads the same bytes as the others. */
  sharedReadBandwidth(milliseconds: number): number {
    return this.#read(milliseconds, true).rate;
  }

  /** Billions of operations a second that all threads do between registers. */
  multiplyPeak(kind: MultiplyKind, milliseconds: number): number {
    const number = multiplyKinds.indexOf(kind);
    return gigas(this.#addon.probeMultiply(this.#options(milliseconds), number));
  }

  /** All of them, in `milliseconds` together. */
  multiplyPeaks(milliseconds: number): ByMultiplyKind<number> {
    return byMultiplyKind((kind) => this.multiplyPeak(kind, milliseconds / multiplyKinds.length));
  }

  #read(milliseconds: number, together: boolean) {
    const { address, size } = this.#memory;
    const probed = this.#addon.probeRead(this.#options(milliseconds), {
      ...{ address, size, first: this.#next, together },
    });
    const slices = probed.amount / SLICE_BYTES;
    this.#next = (this.#next + slices) % Math.floor(size / SLICE_BYTES);
    return { slices, rate: gigas(probed) };
  }

  #options(milliseconds: number) {
    return {
      ...{ instructionSet: this.#kernels, threads: this.threads },
      seconds: milliseconds / 1000,
    };
  }
}

function ownMemory(addon: NativeAddon): Memory {
  const most = Math.min(OWN_BYTES, availableMemory() / MEMORY_SHARE);
  const bytes = new Uint8Array(Math.max(1, Math.floor(most / SLICE_BYTES)) * SLICE_BYTES);
  // Pages nobody wrote are one page of zeros, which a cache holds.
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at] = 1;
  return { address: addon.address(bytes), size: bytes.length, owner: bytes };
}

function fileMemory(addon: NativeAddon, file: string, how: AddonWeightOptions): Memory {
  const files = new addon.WeightFiles(how);
  return { ...files.load(file), owner: files };
}

function gigas({ amount, seconds }: Probed): number {
  return amount / seconds / 1e9;
}
