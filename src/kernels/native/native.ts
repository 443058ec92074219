import { usableCores } from "../cores.ts";
import { MappedWeights } from "./mapped-weights.ts";
import { loadNative } from "../native-addon.ts";
import { NativeStream } from "./native-stream.ts";
import {
  operandFormat,
  precisions,
  type Policy,
  type Precision,
  type ScaleFormat,
} from "../policy.ts";
import type { WeightMemory } from "./resident-weights.ts";
import { COMMON_BITS, type Kernels } from "../stream.ts";
import type { WeightDtype } from "../weight-format.ts";

export interface NativeOptions {
  /** Compute threads of each stream, as long as all streams together keep to the cores; by default 1. */
  readonly threads?: number;
  /** By default what DAYSIX_ISA names, else the best this machine has. */
  readonly instructionSet?: string;
  /**
   * Multiplies single rows nearer to memory's speed, with other bits than the same rows in company.
   * Only AMX's kernels have this mode.
   */
  readonly fastDecode?: boolean;
  /**
   * For a rank that sends its rows as messages and so fences all the time: operations wait for a fence, which
   * computes short work on its caller's thread. Waking another thread takes longer than that work.
   */
  readonly atFence?: boolean;
  /** By default mapped. */
  readonly weights?: WeightMemory;
}

export interface NativeKernels extends Kernels {
  createStream(policy: Policy, scales?: ScaleFormat): NativeStream;
}

/** Why there are no native kernels on this machine; undefined where there are. */
export function nativeProblem(): string | undefined {
  return loadNative().problem;
}

/** Instruction sets that native kernels could use on this machine, best first. */
export function instructionSets(): readonly string[] {
  return loadNative().addon?.instructionSets ?? [];
}

/**
 * The kernels in C++, computed by threads of their own.
 *
 * @throws Error where there are none, RangeError for an instruction set this machine cannot run
 */
export function createNativeKernels(options: NativeOptions = {}): NativeKernels {
  const { addon, problem } = loadNative();
  if (!addon) throw new Error(problem);
  const instructionSet = chooseInstructionSet(addon.instructionSets, options.instructionSet);
  const cores = usableCores();
  const threads = options.threads ?? 1;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new RangeError(`threads: expected a positive whole number, got ${threads}`);
  }
  // Only kernels with tiles have a faster way of decoding.
  const hasTiles = addon.fastDecode.includes(instructionSet);
  const isFaster = options.fastDecode === true && hasTiles;
  const kernels = isFaster ? `${instructionSet}-fast-decode` : instructionSet;
  const atFence = options.atFence ?? false;
  const resident = options.weights === "resident";
  const files = new addon.WeightFiles({ resident, threads: cores });
  return {
    name: "native",
    instructionSet,
    modes: isFaster ? ["fast-decode"] : [],
    bitsOf: (policy) => (precisions[policy].tiles && hasTiles ? kernels : COMMON_BITS),
    threads: Math.min(threads, cores),
    unsupported: (policy) => (operandFormat(policy, "I4") === "int8" ? [] : ["I4"]),
    stripDtypes: (policy) => stripDtypes(policy, hasTiles),
    load: (paths) => paths.forEach((path) => files.load(path)),
    createStream: (policy, scales = "f32") => {
      const names = kernelsUnder(policy, kernels, instructionSet);
      const weights = new MappedWeights(addon, files, stripDtypes(policy, hasTiles));
      return new NativeStream({
        ...{ addon, weights, policy, scales, kernels: names, threads, cores, atFence },
      });
    },
  };
}

/** What kernels are called under a policy: those of an instruction set, or its without BF16 tiles. */
export function kernelsUnder(policy: Policy, kernels: string, instructionSet: string): string {
  return precisions[policy].tiles ? kernels : `${instructionSet}-on-vectors`;
}

/**
 * Whose strips are multiplied faster than their rows: BF16 tiles take rows as they lie, and plain
 * products read along them.
 */
function stripDtypes(policy: Policy, hasTiles: boolean): readonly WeightDtype[] {
  const { activation, tiles }: Precision = precisions[policy];
  const integers = (["I8", "I4"] as const).filter(
    (dtype) => operandFormat(policy, dtype) === "int8",
  );
  const onChain = activation === "bf16" && !(tiles && hasTiles);
  return [...integers, ...(onChain ? (["BF16", "F8_E4M3"] as const) : [])];
}

/** @throws RangeError for one this machine cannot run */
export function chooseInstructionSet(supported: readonly string[], asked?: string): string {
  const variable = process.env.DAYSIX_ISA;
  const [wanted, name] = asked ? [asked, "instructionSet"] : [variable, "DAYSIX_ISA"];
  if (!wanted) return supported[0];
  if (supported.includes(wanted)) return wanted;
  throw new RangeError(`${name}: this machine runs ${supported.join(", ")}; got ${wanted}`);
}
