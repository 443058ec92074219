/**
 * Schedules in which what is lost comes again, and units are started and drained meanwhile. Nothing is
 * left in peace but node 0, which serves: requests may have to wait for a unit.
 */
import { parseTopology } from "../../cluster/index.ts";
import {
  Draw,
  drawRequests,
  drawSizes,
  drawTopology,
  type ChaosSchedule,
  type Mishap,
} from "./chaos-schedule.ts";

/** Virtual milliseconds in which it all happens. */
const PERIOD_MS = 2500;
/** Below how many numbers what is struck is picked. */
const PICKS = 60;

export function drawRecovery(seed: number): ChaosSchedule {
  const draw = new Draw(seed);
  const topology = drawTopology(draw);
  const { units } = parseTopology(topology);
  const fewest = Math.min(...units.map(({ ranks }) => ranks.length));
  return {
    ...{ seed, topology, sharesExperts: draw.chance(0.5), recovers: true },
    nodes: draw.chance(0.5)
      ? units.map(({ ranks }) => draw.between(1, ranks.length))
      : draw.between(1, fewest),
    requests: drawRequests(draw, { most: 14, within: PERIOD_MS }),
    mishaps: drawMishaps(draw, [...new Set(units.map(({ role }) => role))]),
    ...drawSizes(draw),
    hasLateMasks: draw.chance(0.2),
  };
}

type Roles = readonly ("prefill" | "decode" | "combined")[];

function drawMishaps(draw: Draw, roles: Roles): Mishap[] {
  const at = () => draw.below(PERIOD_MS);
  const mishaps = Array.from({ length: draw.between(1, 8) }, (): Mishap => {
    const pick = draw.below(PICKS);
    const back = draw.chance(0.7) ? draw.below(1500) : undefined;
    switch (draw.below(10)) {
      case 0:
      case 1:
        return { kind: "nodeKilled", at: at(), pick, back };
      case 2:
        return { kind: "nodeSilent", at: at(), pick, back };
      case 3:
        return { kind: "nodeSevered", at: at(), pick, back };
      case 4:
        return { kind: "break", at: at(), pick };
      case 5:
        return { kind: "join", at: at() };
      case 6:
        return { kind: "rebalance", at: at() };
      default:
        return { kind: "scale", at: at(), wanted: { [draw.oneOf(roles)]: draw.between(1, 3) } };
    }
  });
  // A third fault may find a request alone, and end it.
  for (let faults = draw.below(3); faults > 0; faults--) {
    mishaps.push({ kind: "trip", at: at(), pick: draw.below(PICKS) });
  }
  return mishaps.sort((a, b) => a.at - b.at);
}
