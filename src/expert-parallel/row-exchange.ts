import type {
  ExpertWeights,
  GateRule,
  Operand,
  SortedRows,
  StoredRows,
  Stream,
} from "../kernels/index.ts";
import type { Transport } from "../cluster/index.ts";
import type { ExpertBatch, ExpertOutput } from "../model/index.ts";
import type { Tracer } from "../trace/index.ts";
import type { LayerPlacement } from "./placement.ts";
import type { Traffic } from "./traffic.ts";

/** A rank's place in its unit. */
export interface UnitMember {
  readonly transport: Transport;
  /** The unit's ranks by their numbers in the cluster, in the placement's order. */
  readonly ranks: readonly number[];
  /** The node of each of them. */
  readonly nodes: readonly number[];
}

/** The parts that the flights of all micro-batches share. */
export interface UnitExperts {
  readonly stream: Stream;
  readonly rule: GateRule;
  readonly hidden: number;
  readonly unit: UnitMember;
  /** Own index in the unit. */
  readonly own: number;
  readonly tracer: Tracer;
  readonly traffic: Traffic;
  /** The own slots' weights. */
  readonly ownWeights: (placement: LayerPlacement, weights: ExpertWeights) => ExpertWeights;
}

/** What came to the own experts. */
export interface ArrivedRows {
  readonly input: Operand;
  /** By slot. */
  readonly groups: SortedRows;
  /** At most. */
  readonly pairs: number;
  /** In so many parts the experts are computed, each of which goes home while the next one is. */
  readonly parts: number;
}

/** Slots of experts that are computed together. */
export interface SlotRange {
  readonly first: number;
  readonly end: number;
}

/**
 * How a micro-batch's rows get from rank to rank: as messages, for which the stream is awaited, or
 * by the stream itself. The methods are called in this order, over and over. The first and the third
 * take their place on the stream before they return, whenever their promises are awaited.
 */
export interface RowExchange {
  /** Sends the rows to their experts once the gate has run; then `gated` is called. */
  dispatch(batch: ExpertBatch, placement: LayerPlacement, gated: () => void): Promise<void>;
  receive(): Promise<ArrivedRows>;
  /**
   * Sends outputs home, of the pairs of some slots, once they are computed; then `computed` is called. To be
   * called for all slots, part by part.
   */
  returnRows(outputs: StoredRows, computed: () => void, slots: SlotRange): Promise<void>;
  /** The outputs of the own rows. */
  takeHome(): Promise<ExpertOutput>;
}
