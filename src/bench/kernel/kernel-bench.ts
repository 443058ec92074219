import {
  allocate,
  codeBytes,
  createNativeKernels,
  createStoredRows,
  gemmInputs,
  groupedGemmInputs,
  mlaInputs,
  multiplyKindOf,
  operandFormats,
  precisions,
  Probes,
  type MlaShape,
  type MultiplyKind,
  type Policy,
  type Stream,
  type WeightDtype,
} from "../../kernels/index.ts";
import { median, percentile } from "../percentiles.ts";
import { WeightPool } from "./weight-pool.ts";

export interface KernelCase {
  readonly kernel: "gemm" | "grouped gemm" | "attention";
  readonly name: string;
  /** Of all experts together, who get equally many. */
  readonly rows: number;
  readonly experts?: number;
  /** Of attention: each row's. */
  readonly context?: number;
  /** Inputs that take turns. */
  readonly copies: number;
  /** Of one call: weights, or KV, and multiply-adds counted twice. */
  readonly bytes: number;
  readonly flops: number;
  /** What is multiplied. */
  readonly kind: MultiplyKind;
  /** Makes the inputs of one copy; what enqueues a call with them. */
  readonly create: (seed: number) => (stream: Stream) => void;
}

export interface KernelMeasured {
  readonly kernel: string;
  readonly name: string;
  readonly rows: number;
  /** 0 where the kernel has none. */
  readonly experts: number;
  readonly context: number;
  /** Microseconds of a call. */
  readonly p20: number;
  readonly median: number;
  readonly GBs: number;
  readonly GFlops: number;
  readonly readGBs: number;
  /** Of what is multiplied. */
  readonly peakGFlops: number;
  /** Of the roof that is nearer. */
  readonly roofShare: number;
}

const ROWS = [1, 2, 4, 8, 16, 32, 128, 512];
/** [outputs, inputs] */
const matrices: Readonly<Record<string, readonly [number, number]>> = {
  "V2-Lite expert in": [1408, 2048],
  "V2-Lite expert out": [2048, 1408],
  "V2-Lite query": [3072, 2048],
  "V3 expert in": [2048, 7168],
  "V3 expert out": [7168, 2048],
  "V3 query": [24_576, 1536],
  "V3 attention out": [7168, 16_384],
};
/** A layer's experts, as many as fit the pool: all of V2-Lite's, an eighth of V3's. */
const layers: Readonly<
  Record<string, readonly [experts: number, outputs: number, inputs: number]>
> = {
  "V2-Lite experts in": [64, 1408, 2048],
  "V2-Lite experts out": [64, 2048, 1408],
  "V3 experts in": [32, 2048, 7168],
  "V3 experts out": [32, 7168, 2048],
};
const ROWS_PER_EXPERT = [1, 2, 4, 8, 32];
const CONTEXTS = [512, 4096];
const ATTENTION_ROWS = [1, 16];
const mla: MlaShape = { heads: 16, nope: 128, rope: 64, value: 128, latent: 512, scale: 0.0721 };
const HEADS = [16, 128];
const dtype: WeightDtype = "F8_E4M3";

/** Weights that a few rows read in turn: more than a cache gives back. */
const COLD_BYTES = 2 ** 29;
const MOST_COPIES = 128;
const SAMPLE_MS = 30;
const SAMPLES = 7;

/** Every case, on one stream, in calls that take turns with probes of the roofs. */
export async function* benchKernels(options: {
  readonly policy: Policy;
  readonly threads: number;
}): AsyncGenerator<KernelMeasured> {
  const { policy, threads } = options;
  const pool = new WeightPool();
  const stream = createNativeKernels({ threads }).createStream(policy);
  try {
    const probes = new Probes({ threads, policy, file: pool.file });
    probes.readThrough();
    const cases = [gemmCases, groupedGemmCases, attentionCases];
    for (const each of cases.flatMap((casesOf) => casesOf(pool, policy))) {
      yield await measure(each, stream, probes);
    }
  } finally {
    stream.close();
    pool.remove();
  }
}

function gemmCases(folder: WeightPool, policy: Policy): KernelCase[] {
  return Object.entries(matrices).flatMap(([name, [outputs, columns]]) =>
    ROWS.map((rows): KernelCase => {
      const bytes = codeBytes(dtype, [outputs, columns]);
      const cold = Math.min(MOST_COPIES, Math.ceil(COLD_BYTES / bytes));
      return {
        ...{ kernel: "gemm", name, rows, bytes, kind: multiplyKindOf(policy, dtype, "linear") },
        flops: 2 * rows * outputs * columns,
        copies: rows <= 32 ? cold : 2,
        create(seed) {
          const sizes = { rows, outputs, columns, dtype };
          const { weight, x } = gemmInputs({ folder, policy, seed }, sizes);
          const out = allocate(Float32Array, rows * outputs);
          return (stream) => stream.gemm(out, x, weight, rows);
        },
      };
    }),
  );
}

function groupedGemmCases(folder: WeightPool, policy: Policy): KernelCase[] {
  return Object.entries(layers).flatMap(([name, [experts, outputs, columns]]) =>
    ROWS_PER_EXPERT.map((each): KernelCase => {
      const rows = experts * each;
      const bytes = experts * codeBytes(dtype, [outputs, columns]);
      return {
        ...{ kernel: "grouped gemm", name, rows, experts, bytes },
        kind: multiplyKindOf(policy, dtype, "linear"),
        flops: 2 * rows * outputs * columns,
        copies: 2,
        create(seed) {
          const sizes = { rows, outputs, columns, dtype, experts };
          const { weights, x } = groupedGemmInputs({ folder, policy, seed }, sizes);
          const starts = Int32Array.from({ length: experts + 1 }, (_, expert) => expert * each);
          const groups = { starts, sources: new Int32Array(0), places: new Int32Array(0) };
          const out = createStoredRows(precisions[policy].rows, rows * outputs);
          return (stream) => stream.groupedGemm(out, x, weights, groups, rows);
        },
      };
    }),
  );
}

function attentionCases(folder: WeightPool, policy: Policy): KernelCase[] {
  return HEADS.flatMap((heads) =>
    CONTEXTS.flatMap((context) =>
      ATTENTION_ROWS.map((rows): KernelCase => {
        const shape = { ...mla, heads };
        const width = shape.latent + shape.rope;
        return {
          ...{ kernel: "attention", name: `${heads} heads`, rows, context, copies: 2 },
          bytes:
            rows * context * width * operandFormats[precisions[policy].kv].Values.BYTES_PER_ELEMENT,
          flops: 2 * rows * context * heads * (width + shape.latent),
          kind: multiplyKindOf(policy, "BF16", "absorbed"),
          create(seed) {
            const sequences = Array.from({ length: rows }, () => ({ context, rows: 1 }));
            const sizes = { shape, dtype, sequences };
            const made = mlaInputs({ folder, policy, seed }, sizes);
            const out = allocate(Float32Array, rows * heads * shape.latent);
            const cache = { entries: made.entries };
            const layout = made.layoutOf(0, rows);
            return (stream) => stream.attention(out, made.absorbed, made.q, cache, shape, layout);
          },
        };
      }),
    ),
  );
}

async function measure(each: KernelCase, stream: Stream, probes: Probes): Promise<KernelMeasured> {
  const { kernel, name, rows, experts = 0, context = 0, bytes, flops, kind } = each;
  const calls = Array.from({ length: each.copies }, (_, seed) => each.create(seed));
  let next = 0;
  const timed = async (count: number) => {
    const began = performance.now();
    for (let i = 0; i < count; i++) calls[next++ % calls.length](stream);
    await stream.fence();
    return (performance.now() - began) / count;
  };
  const first = await timed(calls.length);
  const count = Math.min(1000, Math.max(1, Math.round(SAMPLE_MS / first)));
  const times: number[] = [];
  const reads: number[] = [];
  const peaks: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    times.push(await timed(count));
    reads.push(probes.readBandwidth(SAMPLE_MS));
    peaks.push(probes.multiplyPeak(kind, SAMPLE_MS));
  }
  const [time, readGBs, peakGFlops] = [times, reads, peaks].map(median);
  const GBs = bytes / time / 1e6;
  const GFlops = flops / time / 1e6;
  return {
    ...{ kernel, name, rows, experts, context },
    p20: 1000 * percentile(times, 0.2),
    median: 1000 * time,
    ...{ GBs, GFlops, readGBs, peakGFlops },
    roofShare: shareOf(GBs / readGBs, GFlops / peakGFlops),
  };
}

/** Of the nearer roof. What is read faster than memory gives it lay in a cache, under the other roof alone. */
function shareOf(ofReads: number, ofPeak: number): number {
  return Math.min(1, ofReads > 1 ? ofPeak : Math.max(ofReads, ofPeak));
}
