import fc from "fast-check";
import { createSharedSegments, SharedMemoryTransport } from "../cluster/index.ts";
import {
  createNativeKernels,
  createOperand,
  createReferenceKernels,
  gaussian,
  nativeProblem,
  randomSource,
  type ExpertWeights,
  type GateRule,
  type Kernels,
  type Policy,
  type Stream,
} from "../kernels/index.ts";
import { WeightFolder } from "../kernels/testing/weight-folder.ts";
import {
  LocalExperts,
  type ExpertBatch,
  type ExpertOutput,
  streamTracer,
  type RoutedExperts,
} from "../model/index.ts";
import { nullTracer, type Tracer } from "../trace/index.ts";
import { createSharedExchange, ParallelExperts } from "./parallel-experts.ts";
import { layerPlacement, type LayerPlacement } from "./placement.ts";

export const HIDDEN = 24;
const WIDTH = 8;
export const EXPERTS = 12;
export const TOP_K = 3;
export const MOST_ROWS = 9;

export const rule: GateRule = {
  experts: EXPERTS,
  topK: TOP_K,
  scoring: "sigmoid",
  method: "greedy",
  groups: 1,
  topGroups: 1,
  normalise: true,
  scale: 1,
};

const folder = new WeightFolder();
process.on("exit", () => folder.remove());
const random = randomSource(3);
/** Layers take turns with experts of another format, whose rows are rounded otherwise where the policy says so. */
const layers = (["F8_E4M3", "BF16"] as const).map((dtype): ExpertWeights => {
  const create = (shape: number[]) =>
    Array.from({ length: EXPERTS }, () => folder.create(random, dtype, shape).weight);
  const [gate, up] = [0, 1].map(() => create([WIDTH, HIDDEN]));
  return { gate, up, down: create([HIDDEN, WIDTH]) };
});
export const weightsOf = (layer: number): ExpertWeights => layers[layer % layers.length];

/** How a unit's ranks compute, and exchange rows. */
export interface Way {
  readonly name: string;
  readonly kernels: () => Kernels;
  readonly sharesMemory: boolean;
  readonly skip: string | false;
}

const skip = nativeProblem() ?? false;
export const sharedMemory: Way = {
  ...{
    name: "native kernels, shared memory",
    kernels: createNativeKernels,
    sharesMemory: true,
    skip,
  },
};
export const ways: readonly Way[] = [
  { name: "reference kernels", kernels: createReferenceKernels, sharesMemory: false, skip: false },
  { name: "native kernels, messages", kernels: createNativeKernels, sharesMemory: false, skip },
  sharedMemory,
];

/** One rank's share of a step. */
export interface RankRows {
  readonly rows: number;
  /** [rows, TOP_K] */
  readonly ids: Int32Array;
  /** [rows, HIDDEN] */
  readonly values: Float32Array;
}

export const nobody: RankRows = { rows: 0, ids: new Int32Array(0), values: new Float32Array(0) };

/** Each (row, choice)'s expert row, in the order of `ids`, as bytes. */
type Outputs = Buffer;

function inputOf(stream: Stream, layer: number, { rows, values }: RankRows) {
  const { gate } = weightsOf(layer);
  const input = createOperand(stream.operandFormat(gate[0]), rows, HIDDEN);
  stream.quantize(input, values, rows);
  return input;
}

/** Of the rows of a batch, once the stream has computed them. */
async function outputsOf(stream: Stream, { expertRows, places }: ExpertOutput, rows: number) {
  await stream.fence();
  const bytes = Buffer.from(expertRows.buffer, expertRows.byteOffset, expertRows.byteLength);
  const width = expertRows.BYTES_PER_ELEMENT * HIDDEN;
  const own = [...places.subarray(0, rows * TOP_K)];
  return Buffer.concat(own.map((at) => bytes.subarray(at * width, (at + 1) * width)));
}

export async function threeActs(experts: RoutedExperts, batch: ExpertBatch): Promise<ExpertOutput> {
  const flight = await experts.dispatch(batch);
  await flight.compute(weightsOf(batch.layer));
  return flight.combine();
}

/** What one process with all experts computes in a layer of odd number. */
export async function oracle(way: Way, policy: Policy, share: RankRows): Promise<Outputs> {
  const layer = 1;
  const stream = way.kernels().createStream(policy);
  const local = new LocalExperts(stream, rule, share.rows, nullTracer);
  const input = inputOf(stream, layer, share);
  const output = await threeActs(local, {
    microBatch: 0,
    overlaps: false,
    layer,
    input,
    ...share,
  });
  const outputs = await outputsOf(stream, output, share.rows);
  stream.close();
  return outputs;
}

/** A rank of a unit, all of whose ranks are in this thread. */
export interface Member {
  readonly stream: Stream;
  readonly transport: SharedMemoryTransport;
  readonly experts: ParallelExperts;
  /** The outputs of a share, in the order of its ids. */
  readonly compute: (layer: number, share: RankRows) => Promise<Outputs>;
  readonly batchOf: (layer: number, share: RankRows, microBatch?: number) => ExpertBatch;
  readonly outputsOf: (output: ExpertOutput, rows: number) => Promise<Outputs>;
  readonly close: () => void;
}

export interface UnitOptions {
  readonly policy: Policy;
  readonly ranks: number;
  readonly placementOf: (layer: number) => LayerPlacement;
  /** By default as many as shared memory has room for. */
  readonly unitRows?: () => number;
  /** Of each rank; by default one node. */
  readonly nodes?: readonly number[];
  readonly tracer?: Tracer;
}

/** Whoever reads a message that was given back finds nonsense. */
class StrictTransport extends SharedMemoryTransport {
  override release(message: Uint8Array): void {
    message.fill(0xff);
  }
}

export function openUnit(
  way: Way,
  { policy, ranks: count, tracer = nullTracer, nodes = [], ...options }: UnitOptions,
): Member[] {
  const ranks = Array.from({ length: count }, (_, rank) => rank);
  const segments = createSharedSegments(ranks, { ringCapacity: 256 });
  const shape = { ranks: count, rows: MOST_ROWS, topK: TOP_K, hidden: HIDDEN, policy };
  const shared = way.sharesMemory ? createSharedExchange(shape) : undefined;
  return ranks.map((rank) => {
    const stream = way.kernels().createStream(policy);
    const transport = new StrictTransport(segments, rank);
    const experts = new ParallelExperts({
      ...{ stream, rule, hidden: HIDDEN, shared, tracer: streamTracer(tracer, stream) },
      ...{ unit: { transport, ranks, nodes: ranks.map((each) => nodes[each] ?? 0) } },
      ...{ unitRows: () => count * MOST_ROWS, ...options },
    });
    const batchOf = (layer: number, share: RankRows, microBatch = 0) => ({
      ...{ microBatch, overlaps: true, layer, input: inputOf(stream, layer, share), ...share },
    });
    return {
      ...{ stream, transport, experts, batchOf },
      outputsOf: (output, rows) => outputsOf(stream, output, rows),
      compute: async (layer, share) => {
        const output = await threeActs(experts, batchOf(layer, share));
        return outputsOf(stream, output, share.rows);
      },
      close: () => {
        transport.close();
        stream.close();
      },
    };
  });
}

/** Rows whose experts are any, few, or one. */
export const shareOf = (choosable: number) =>
  fc
    .array(fc.uniqueArray(fc.nat(choosable - 1), { minLength: TOP_K, maxLength: TOP_K }), {
      maxLength: MOST_ROWS,
    })
    .chain((chosen) => fc.tuple(fc.constant(chosen), fc.nat()))
    .map(([chosen, seed]): RankRows => {
      const ids = Int32Array.from(chosen.flatMap((row) => row.toSorted((a, b) => a - b)));
      const values = gaussian(randomSource(seed), chosen.length * HIDDEN);
      return { rows: chosen.length, ids, values };
    });

/** Every expert once, then replicas of any, shuffled over the ranks. */
export const placements = (ranks: number) => {
  const least = Math.ceil(EXPERTS / ranks);
  return fc
    .integer({ min: least, max: least + 3 })
    .chain((slots) => {
      const spare = slots * ranks - EXPERTS;
      const extra = fc.array(fc.nat(EXPERTS - 1), { minLength: spare, maxLength: spare });
      return extra.chain((more) => {
        const all = [...Array(EXPERTS).keys(), ...more];
        return fc.shuffledSubarray(all, { minLength: all.length });
      });
    })
    .map((map) => layerPlacement(map, EXPERTS, ranks));
};
