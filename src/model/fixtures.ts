import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createReferenceKernels, type Kernels, type Stream } from "../kernels/index.ts";

/** Folder of package.json. */
export const repositoryRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** A tiny checkpoint beside what Hugging Face's float32 model computes from it. */
export interface Fixture {
  readonly name: string;
  readonly directory: string;
  readonly tokens: readonly number[];
  /** Tokens a greedy continuation of `tokens` gives. */
  readonly greedy: readonly number[];
  /** Tensors of golden.safetensors by name. */
  readonly golden: ReadonlyMap<string, Float32Array | Int32Array>;
}

/** The fixtures of fixtures/tiny (see fixtures/README.md). */
export function tinyFixtures(): Fixture[] {
  const folder = join(repositoryRoot, "fixtures/tiny");
  return readdirSync(folder).map((name) => {
    const directory = join(folder, name);
    const { tokens, greedy } = JSON.parse(readFileSync(join(directory, "golden.json"), "utf8"));
    return { name, directory, tokens, greedy, golden: readTensors(directory) };
  });
}

/** A tiny checkpoint with an MTP layer beside what transformers' MtpModel computes from it. */
export function mtpFixture(): Omit<Fixture, "greedy"> & { readonly drafts: readonly number[] } {
  const directory = join(repositoryRoot, "fixtures/mtp");
  const { tokens, drafts } = JSON.parse(readFileSync(join(directory, "golden.json"), "utf8"));
  return { name: "mtp", directory, tokens, drafts, golden: readTensors(directory) };
}

/** Tiny checkpoints whose attention is sparse, beside transformers' logits of all it reads at once. */
export function sparseFixtures(): Omit<Fixture, "greedy">[] {
  return ["v32", "glm"].map((name) => {
    const directory = join(repositoryRoot, "fixtures/sparse", name);
    const { tokens } = JSON.parse(readFileSync(join(directory, "golden.json"), "utf8"));
    return { name, directory, tokens, golden: readTensors(directory) };
  });
}

export function fixtureDirectory(path: string): string | undefined {
  const directory = join(repositoryRoot, "fixtures", path);
  return existsSync(directory) ? directory : undefined;
}

/** Reads golden tensors without the reader under test. */
function readTensors(directory: string): Map<string, Float32Array | Int32Array> {
  const file = readFileSync(join(directory, "golden.safetensors"));
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerLength).toString()) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Float32Array | Int32Array>();
  for (const [name, { dtype, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [start, end] = offsets.map((offset) => 8 + headerLength + offset);
    const bytes = Uint8Array.from(file.subarray(start, end)).buffer;
    tensors.set(name, dtype === "F32" ? new Float32Array(bytes) : new Int32Array(bytes));
  }
  return tensors;
}

/** Kernels, by default the reference's, with some operations replaced. */
export function changedKernels(
  change: (stream: Stream) => Partial<Stream>,
  kernels: Kernels = createReferenceKernels(),
): Kernels {
  return {
    ...kernels,
    name: "changed",
    createStream(policy, scales) {
      const stream = kernels.createStream(policy, scales);
      const changes = change(stream);
      return new Proxy(stream, {
        get(target, name: keyof Stream) {
          const own = changes[name] ?? target[name];
          return typeof own === "function" ? own.bind(target) : own;
        },
      });
    },
  };
}

/** Largest absolute difference from what is expected. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i] - expected[i]));
  }
  return difference;
}
