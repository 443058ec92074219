/** A rank of `exchange-speed.ts`: exchanges rows with the other one, and pings it with as many bytes. */
import { parentPort, workerData } from "node:worker_threads";
import { channels, RankTransport, type RankEndpoint } from "../../cluster/index.ts";
import {
  MessageExchange,
  orderedPlacement,
  StreamExchange,
  Traffic,
  type RowExchange,
  type SharedExchange,
  type UnitExperts,
} from "../../expert-parallel/index.ts";
import {
  createKernels,
  createOperand,
  createStoredRows,
  exchangesRows,
  gaussian,
  operandRowBytes,
  precisions,
  randomSource,
  type ExchangeShape,
  type GateRule,
} from "../../kernels/index.ts";
import type { ExpertBatch } from "../../model/index.ts";
import { nullTracer } from "../../trace/index.ts";
import { percentile } from "../percentiles.ts";

export interface ExchangeRankOptions {
  readonly endpoint: RankEndpoint;
  readonly shape: ExchangeShape;
  /** Of ranks whose streams move rows by themselves. */
  readonly shared?: SharedExchange;
}

export interface ExchangeMeasured {
  readonly rows: number;
  /** Bytes to the other rank, and back. */
  readonly bytes: readonly number[];
  /** Microseconds of a layer: the 20th percentile and the median. */
  readonly exchange: readonly [number, number];
  readonly ping: readonly [number, number];
}

const EXPERTS = 64;
const ROUNDS = 40;
/** Of a step, which are enqueued one after the other: a stream is awaited once a step. */
const LAYERS = 10;

const { endpoint, shape, shared } = workerData as ExchangeRankOptions;
const { hidden, topK, policy, rows: mostRows } = shape;
const rule: GateRule = {
  ...{ experts: EXPERTS, topK, groups: 1, topGroups: 1, scale: 1 },
  ...{ scoring: "softmax", method: "greedy", normalise: false },
};
const transport = new RankTransport(endpoint);
const [own, other] = [transport.rank, 1 - transport.rank];
const stream = createKernels({ threads: 1, atFence: !shared }).createStream(policy);
const traffic = new Traffic(2, EXPERTS);
const unit: UnitExperts = {
  ...{ stream, rule, hidden, own, traffic, tracer: nullTracer },
  unit: { transport, ranks: [0, 1], nodes: [0, 1] },
  ownWeights: (_, weights) => weights,
};
const placement = orderedPlacement(EXPERTS, 2);
const outputs = createStoredRows(precisions[policy].rows, 2 * mostRows * topK * hidden);

const messages = new Uint8Array(2 * outputs.byteLength);

/** Turns of the shared memory are counted from its first exchange on: there is one for all measurements. */
function createExchange(): RowExchange {
  if (!shared || !exchangesRows(stream)) return new MessageExchange(unit, () => 2 * mostRows);
  const memory = { shape: shared.shape, memory: shared.memories[0] };
  return new StreamExchange(unit, stream, memory, () => 2 * mostRows);
}

const exchange = createExchange();

/** Rows that choose any experts. */
function drawBatch(rows: number): ExpertBatch {
  const random = randomSource(1 + own);
  const input = createOperand("int8", rows, hidden);
  stream.quantize(input, gaussian(random, rows * hidden), rows);
  const chosen = Array.from({ length: rows }, () => {
    const experts = Array.from({ length: EXPERTS }, (_, expert) => ({ expert, at: random() }));
    const first = experts.toSorted((a, b) => a.at - b.at).slice(0, topK);
    return first.map(({ expert }) => expert).toSorted((a, b) => a - b);
  });
  return {
    ...{ microBatch: 0, overlaps: false, layer: 0, rows, input },
    ids: Int32Array.from(chosen.flat()),
  };
}

async function measure(rows: number): Promise<ExchangeMeasured> {
  const batch = drawBatch(rows);
  const all = { first: 0, end: placement.slots };
  const step = async () => {
    for (let layer = 0; layer < LAYERS; layer++) {
      await exchange.dispatch(batch, placement, () => undefined);
      await exchange.receive();
      await exchange.returnRows(outputs, () => undefined, all);
      await exchange.takeHome();
    }
    await stream.fence();
  };
  await step();
  const bytes = await agreeOn(bytesOf(batch));
  const pings = async () => {
    for (let layer = 0; layer < LAYERS; layer++) await pingPong(bytes);
  };
  const times: { exchange: number[]; ping: number[] } = { exchange: [], ping: [] };
  for (let round = 0; round < ROUNDS; round++) {
    await pingPong([1, 1]);
    times.exchange.push((await timed(step)) / LAYERS);
    await pingPong([1, 1]);
    times.ping.push((await timed(pings)) / LAYERS);
  }
  const told = (values: number[]) =>
    [percentile(values, 0.2), percentile(values, 0.5)] as [number, number];
  return { rows, bytes, exchange: told(times.exchange), ping: told(times.ping) };
}

/** Of rows that leave, and of outputs that come home. */
function bytesOf({ ids, rows, input }: ExpertBatch): number[] {
  const leaves = (expert: number) => Math.floor(expert / (EXPERTS / 2)) === other;
  const places = Array.from({ length: rows }, (_, row) =>
    ids.subarray(row * topK, (row + 1) * topK),
  );
  const { values, scales } = operandRowBytes(input);
  return [
    places.filter((chosen) => chosen.some(leaves)).length * (values + scales),
    ids.filter(leaves).length * hidden * outputs.BYTES_PER_ELEMENT,
  ];
}

/** The first rank's. */
async function agreeOn(bytes: readonly number[]): Promise<readonly number[]> {
  await transport.send(
    other,
    channels.activations,
    new Uint8Array(Float64Array.from(bytes).buffer),
  );
  const heard = await transport.receive(other, channels.activations);
  return own === 0 ? bytes : [...new Float64Array(heard.slice().buffer)];
}

/** What an exchange sends, both ranks at once: bytes to the other, then as many back as it would return. */
async function pingPong(bytes: readonly number[]): Promise<void> {
  for (const each of bytes) {
    const sent = transport.send(other, channels.activations, messages.subarray(0, each));
    await transport.receive(other, channels.activations, "soon");
    await sent;
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return 1000 * (performance.now() - began);
}

// Code is slow until it has run for a while.
for (let warmUp = 0; warmUp < 4; warmUp++) await measure(4);
const measured: ExchangeMeasured[] = [];
for (const rows of [1, 4, 16, mostRows]) measured.push(await measure(rows));
parentPort?.postMessage(measured);
await transport.receive(other, channels.loss).catch(() => undefined);
