import type { GenerationEvent } from "../messages.ts";

/** A sequence's way over the ranks; where they are lost, others begin a new one. Times are milliseconds by the engine's clock. */
export interface Journey {
  /** Numbers the sequences since the start. */
  readonly number: number;
  /** Computes the prompt, and the rest where no other rank does. */
  readonly rank: number;
  readonly decodeRank?: number;
  readonly asked: number;
  /** Its computation began. */
  started?: number;
  /** Its first token came. */
  prefilled?: number;
  /** The first token of the decode rank came. */
  takenOver?: number;
  /** Its last token came, or it failed, or its client left. */
  ended?: number;
}

/** So many are followed at a time, those that ended lately included. */
const FOLLOWED = 128;

/**
 * Follows sequences on their ways, for whoever looks now and then. Where there are more at a time
 * some are not followed; who is followed stays so to the end, and for a while after it.
 */
export class Journeys {
  readonly #limit: number;
  /** In the order in which they were asked for. */
  readonly #followed = new Set<Journey>();

  constructor(limit = FOLLOWED) {
    this.#limit = limit;
  }

  /** Undefined: it is not followed. */
  begin(journey: Pick<Journey, "number" | "rank" | "asked"> & { decodeRank?: number | undefined }) {
    if (this.#followed.size >= this.#limit && !this.#forgetOne()) return undefined;
    const { decodeRank, ...begun } = journey;
    const followed: Journey = decodeRank === undefined ? begun : { ...begun, decodeRank };
    this.#followed.add(followed);
    return followed;
  }

  /** Those on their way, and those that ended since `time`. */
  since(time: number): readonly Readonly<Journey>[] {
    return [...this.#followed].filter(({ ended }) => ended === undefined || ended >= time);
  }

  /** Whether one that has ended made room. */
  #forgetOne(): boolean {
    for (const journey of this.#followed) {
      if (journey.ended !== undefined) return this.#followed.delete(journey);
    }
    return false;
  }
}

/** Takes note of what a rank tells of a sequence. */
export function travel(
  journey: Journey,
  kind: GenerationEvent["kind"],
  from: number,
  time: number,
): void {
  if (kind === "started") journey.started ??= time;
  if (kind !== "token") return;
  journey.prefilled ??= time;
  if (from === journey.decodeRank) journey.takenOver ??= time;
}
