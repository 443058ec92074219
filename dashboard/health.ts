import type { StatusSnapshot, UnitStatus } from "../src/gateway/status/status-snapshot.ts";

/** A unit that serves without some of its ranks is `partly lost`. */
export type UnitState = UnitStatus["state"] | "partly lost";

/** How a unit is. */
export function stateOf({ state, ranks }: UnitStatus): UnitState {
  return state === "serving" && ranks.some(({ lost }) => lost) ? "partly lost" : state;
}

/** How a cluster is, in a word and in a sentence: well only while nothing of it is missing or changing. */
export interface Health {
  readonly state: "well" | "changing" | "ill";
  readonly says: string;
}

export function healthOf({ engine, units, draining }: StatusSnapshot): Health {
  if (engine === "down") {
    return { state: "ill", says: "the engine does not answer: loads are unknown" };
  }
  const ranks = units.flatMap((unit) => unit.ranks);
  const lost = ranks.filter((rank) => rank.lost).map(({ rank }) => rank);
  if (lost.length > 0) return { state: "ill", says: lostRanks(lost, ranks.length) };
  const lostUnit = units.find(({ state }) => state === "lost");
  if (lostUnit) return { state: "ill", says: `${nameOf(lostUnit)} is lost` };
  if (draining) return { state: "changing", says: "draining: nobody is let in any more" };
  const changing = units.find(({ state }) => state !== "serving");
  if (changing) return { state: "changing", says: `${nameOf(changing)} is ${changing.state}` };
  return { state: "well", says: "live" };
}

const nameOf = ({ role, unit }: UnitStatus) => `${role} unit ${unit}`;

function lostRanks(lost: readonly number[], all: number): string {
  if (lost.length === 1) return `rank ${lost[0]} is lost`;
  if (lost.length > 4) return `${lost.length} of ${all} ranks are lost`;
  return `ranks ${lost.slice(0, -1).join(", ")} and ${lost.at(-1)} are lost`;
}
