import type {
  EngineLimits,
  EngineStats,
  RankCommand,
  RankNews,
  RankQuestion,
} from "../messages.ts";

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

/** All ranks of an engine, by number. */
export interface RankFleet {
  readonly ranks: readonly RankHandle[];
  close(): Promise<void>;
}

/** A rank could not start, or has ended. */
export class EngineError extends Error {
  override readonly name = "EngineError";
}
