import { allocate, type ArrayType } from "./buffers.ts";
import {
  operandFormats,
  operandRowBytes,
  rowScales,
  type Operand,
  type OperandFormatName,
  type StoredRows,
} from "./operand-format.ts";
import { precisions, type Policy } from "./policy.ts";
import type { RowGroups, Stream } from "./stream.ts";

/** What ranks of a unit that share a process exchange at most, in one micro-batch. */
export interface ExchangeShape {
  readonly ranks: number;
  /** Of a rank. */
  readonly rows: number;
  readonly topK: number;
  readonly hidden: number;
  readonly policy: Policy;
}

/** The memory of an exchange, as one of its ranks sees it. */
export interface SharedRows extends ExchangeShape {
  /** Own index among the ranks. */
  readonly own: number;
  /** Lines of native/host/commands.h's ExchangeLine. */
  readonly lines: Int32Array;
  /** Rows of all ranks, as the policy rounds them. [ranks × rows, hidden] */
  readonly dispatched: Operand;
  /** The physical expert of each choice. [ranks × rows, topK] */
  readonly experts: Int32Array;
  /** The experts' outputs, each where its home rank reads it. [ranks × rows × topK, hidden] */
  readonly returned: StoredRows;
}

/** For each logical expert the physical ones among which rows choose, on as many ranks. */
export interface ReplicaChoices {
  /** Those of expert e are `places[starts[e]]` up to `places[starts[e + 1]]`. [experts + 1] */
  readonly starts: Int32Array;
  readonly places: Int32Array;
}

/** Counts that an exchange adds to. */
export interface ExchangeCounts {
  /** How often each logical expert was chosen. */
  readonly loads: Float64Array;
  /** Rows dispatched to each rank, the own included. */
  readonly rowsTo: Float64Array;
  /** Bytes dispatched to and returned to each other rank. */
  readonly bytesTo: Float64Array;
}

/** What a rank dispatches. */
export interface DispatchedChoices extends ExchangeCounts {
  readonly input: Operand;
  /** [rows, topK] */
  readonly ids: Int32Array;
  readonly rows: number;
  readonly choices: ReplicaChoices;
  /** Physical experts of a rank. */
  readonly slots: number;
}

/**
 * A stream that moves rows between ranks of its process by itself, so that a whole step can be
 * enqueued. Each rank enqueues the exchanges of a step in the same order, numbered by `turn`.
 */
export interface ExchangeStream extends Stream {
  /** Puts the own rows where the other ranks read them. */
  dispatchRows(shared: SharedRows, turn: number, dispatched: DispatchedChoices): void;
  /** What follows waits until all ranks have dispatched. */
  awaitDispatched(shared: SharedRows, turn: number): void;
  /** Sorts what came to the own experts; `places` of a pair is its output's place in `returned`. */
  groupArrived(out: RowGroups, shared: SharedRows, turn: number): void;
  /** Puts outputs, one for each pair, where their home ranks read them. */
  returnRows(
    shared: SharedRows,
    turn: number,
    outputs: StoredRows,
    groups: RowGroups,
    bytesTo: Float64Array,
  ): void;
  /** What follows waits until all ranks have returned their outputs. */
  awaitReturned(shared: SharedRows, turn: number): void;
  /** Has the stream fail as if an operation had: waits end, and fences reject with this error. */
  fail(error: Error): void;
}

export function exchangesRows(stream: Stream): stream is ExchangeStream {
  return "dispatchRows" in stream;
}

const LINE_BYTES = 64;
/** Lines before those of the ranks: one for each of native/host/commands.h's ExchangeAct. */
const ACTS = 2;

/** Memory for one exchange at a time, by a process's main thread; workers get it as workerData. */
export function createExchange(shape: ExchangeShape): Uint8Array {
  return allocate(Uint8Array, partsOf(shape).bytes, SharedArrayBuffer);
}

/** An exchange's memory for rows of a format, which is the same for all ranks. */
export function sharedRows(
  memory: Uint8Array,
  shape: ExchangeShape,
  own: number,
  format: OperandFormatName,
): SharedRows {
  const { ranks, rows, topK, hidden, policy } = shape;
  const parts = partsOf(shape);
  const at = (offset: number) => memory.byteOffset + offset;
  const { buffer } = memory;
  const Values: ArrayType<Operand["values"]> = operandFormats[format].Values;
  const pairs = ranks * rows * topK;
  const valueBytes = ranks * rows * operandRowBytes({ format, columns: hidden }).values;
  const scalesAt = at(parts.dispatched + lines(valueBytes));
  const dispatched = {
    ...{ format, columns: hidden },
    values: new Values(buffer, at(parts.dispatched), ranks * rows * hidden),
    scales: new Float32Array(buffer, scalesAt, ranks * rows * rowScales(format, hidden)),
  } as Operand;
  const Returned: ArrayType<StoredRows> = operandFormats[precisions[policy].rows].Values;
  return {
    ...{ ...shape, own, dispatched },
    lines: new Int32Array(buffer, at(0), ((ACTS + ranks) * LINE_BYTES) / 4),
    experts: new Int32Array(buffer, at(parts.experts), pairs),
    returned: new Returned(buffer, at(parts.returned), pairs * hidden),
  };
}

/** Where the parts of an exchange's memory begin. */
function partsOf({ ranks, rows, topK, hidden, policy }: ExchangeShape) {
  const { activation, quantized, rows: outputs } = precisions[policy];
  const formats: readonly OperandFormatName[] = [activation, ...Object.values(quantized)];
  const dispatched = formats.map((format) => {
    const { values, scales } = operandRowBytes({ format, columns: hidden });
    return lines(ranks * rows * values) + lines(ranks * rows * scales);
  });
  const output = operandRowBytes({ format: outputs, columns: hidden }).values;
  const pairs = ranks * rows * topK;
  const first = (ACTS + ranks) * LINE_BYTES;
  const experts = first + Math.max(...dispatched);
  const returned = experts + lines(pairs * Int32Array.BYTES_PER_ELEMENT);
  return { dispatched: first, experts, returned, bytes: returned + pairs * output };
}

/** Bytes of as many whole cache lines. */
function lines(bytes: number): number {
  return Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
}
