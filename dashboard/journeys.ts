import type { Journey } from "../src/gateway/status/status-snapshot.ts";

/** Where a request is drawn: at the API server, or at the rank of a number. */
export type Station = "api" | number;

/** A request on its way from one station to another, or at the second where `progress` is 1. */
export interface Place {
  readonly from: Station;
  readonly to: Station;
  /** From 0 to 1. */
  readonly progress: number;
}

interface Leg {
  readonly to: Station;
  /** When it sets out, and when it is there; Infinity: not yet known. */
  readonly departs: number;
  readonly arrives: number;
}

/** A way is drawn to take so many milliseconds at least: fast requests are drawn late, not left out. */
export const HOP_MS = 350;
/** Where a request waits between ranks until it is taken over. */
const ON_THE_WIRE = 0.5;

/**
 * Where a request is at `now`, in milliseconds since 1970; undefined before it is asked for and once
 * it is back. `hop`: the least that a way takes.
 */
export function placeAt(journey: Journey, now: number, hop = HOP_MS): Place | undefined {
  if (now < journey.asked) return undefined;
  let place: Place | undefined = { from: "api", to: "api", progress: 1 };
  for (const { to, departs, arrives } of legsOf(journey, hop)) {
    if (now < departs) return place;
    const from: Station = place.to;
    if (now < arrives) {
      const progress = from === to ? 1 : progressOf(now - departs, arrives - departs, hop);
      return { from, to, progress };
    }
    place = { from, to, progress: 1 };
  }
  return journey.ended === undefined ? place : undefined;
}

/** When it is back at the API server, as it is drawn; undefined while it is on its way. */
export function overAt(journey: Journey, hop = HOP_MS): number | undefined {
  return journey.ended === undefined ? undefined : legsOf(journey, hop).at(-1)?.arrives;
}

function legsOf({ rank, decodeRank, ...times }: Journey, hop: number): Leg[] {
  const { asked, started, prefilled, takenOver, ended } = times;
  const legs: Leg[] = [];
  const add = (to: Station, at: number, arrives = 0) => {
    const departs = Math.max(at, legs.at(-1)?.arrives ?? asked);
    legs.push({ to, departs, arrives: Math.max(arrives, departs + hop) });
  };
  if (started !== undefined) add(rank, started);
  const isOnTheWay = prefilled !== undefined && ended === undefined;
  if (
    decodeRank !== undefined &&
    prefilled !== undefined &&
    (takenOver !== undefined || isOnTheWay)
  ) {
    add(decodeRank, prefilled, takenOver ?? Infinity);
  }
  if (ended !== undefined) add("api", ended);
  return legs;
}

/** Of a way that takes `duration`; one of unknown length halts halfway. */
function progressOf(elapsed: number, duration: number, hop: number): number {
  if (duration === Infinity) return Math.min(ON_THE_WIRE, elapsed / Math.max(1, 2 * hop));
  const share = elapsed / duration;
  return share * share * (3 - 2 * share);
}
