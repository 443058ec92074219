import type {
  EngineLimits,
  EngineStats,
  RankCommand,
  RankNews,
  RankQuestion,
} from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import type { UnitLife, WantedUnits } from "./unit-table.ts";

/** Who reaches a rank, in this process or on another node. */
export interface RankHandle {
  readonly limits: EngineLimits;
  /** A rank that is lost hears nothing; its listener has been told. */
  tell(command: RankCommand): void;
  ask(question: RankQuestion): Promise<EngineStats>;
}

/** Who hears the ranks, wherever they are. */
export interface RankListener {
  heard(rank: number, news: RankNews): void;
  /**
   * A rank's thread or node is gone; told once for each rank.
   * @param isOwnFault an error of its own has ended it, and not the loss of a node or of another rank
   */
  lost(rank: number, reason: string, isOwnFault: boolean): void;
}

/** A unit of which the engine hears that it serves. */
export interface StartedUnit {
  readonly life: UnitLife;
  /** Null where each rank has all experts. */
  readonly placement: Placement | null;
}

/** Who hears what befalls ranks and units. */
export interface FleetListener extends RankListener {
  /** A unit serves, whose ranks have joined `RankFleet.ranks`. Not told of those that a fleet begins with. */
  readonly serving: (unit: StartedUnit) => void;
  /** A unit is to be given nothing more; `RankFleet.drained` says when it has finished what it had. */
  readonly draining: (unit: number) => void;
  /** A unit's state is another one. */
  readonly changed: () => void;
  /** Nothing serves any more, nor will it. */
  readonly hopeless: (reason: string) => void;
}

/** All ranks of an engine. */
export interface RankFleet {
  /** By number; those that have ended hear nothing. */
  readonly ranks: readonly RankHandle[];
  /** Those that there are, whatever their state; numbered in the order in which they were started. */
  readonly units: readonly UnitLife[];
  /** How many units of each role are to serve. */
  readonly wanted: WantedUnits;
  /** Ranks that this machine's memory has room for beside those that there are; Infinity where other machines have ranks. */
  readonly room: number;
  /** Why units do not start. */
  readonly problems: readonly string[];
  /** Whether what is lost may come again. */
  readonly recovers: boolean;
  /**
   * So many units of the roles that are named are to serve.
   * @throws RangeError where that makes no sense
   */
  scale(wanted: WantedUnits): void;
  drained(unit: number): void;
  close(): Promise<void>;
}

/** A rank could not start, or has ended. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}
