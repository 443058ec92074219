import type { CommandRing } from "./command-ring.ts";
import { writeOperand, writeStoredRows } from "./arguments.ts";
import type { RowGroups } from "../stream.ts";
import type { DispatchedChoices, SharedRows } from "../shared-rows.ts";

/** Numbers of native/host/commands.h's ExchangeAct. */
export const exchangeActs = { dispatch: 0, giveBack: 1 };

export function writeSharedRows(ring: CommandRing, shared: SharedRows, turn: number): void {
  const { ranks, own, rows, topK, hidden } = shared;
  const all = ranks * rows;
  ring.number("ranks", ranks, "shared");
  ring.number("own", own, "shared");
  ring.number("rows", rows, "shared");
  ring.number("topK", topK, "shared");
  ring.number("turn", turn, "shared");
  ring.array("lines", shared.lines, 0, "shared");
  writeOperand(ring, "shared.dispatched", shared.dispatched, all);
  ring.array("experts", shared.experts, all * topK, "shared");
  writeStoredRows(ring, "shared.returned", shared.returned, all * topK * hidden);
}

/** @throws RangeError for more rows than there is room for */
export function writeDispatched(
  ring: CommandRing,
  { input, ids, rows, choices, slots, loads, rowsTo, bytesTo }: DispatchedChoices,
  { ranks, rows: most, topK }: SharedRows,
): void {
  if (rows > most) throw new RangeError(`a rank dispatches at most ${most} rows, got ${rows}`);
  writeOperand(ring, "x", input, rows);
  ring.array("ids", ids, rows * topK);
  ring.number("rows", rows);
  ring.number("experts", choices.starts.length - 1);
  ring.array("replicaStarts", choices.starts, 0);
  ring.array("replicas", choices.places, choices.starts[choices.starts.length - 1]);
  ring.number("slots", slots);
  ring.array("loads", loads, choices.starts.length - 1);
  ring.array("rowsTo", rowsTo, ranks);
  ring.array("bytesTo", bytesTo, ranks);
}

export function writeArrived(ring: CommandRing, { starts, sources, places }: RowGroups): void {
  ring.number("slots", starts.length - 1);
  ring.number("most", Math.min(sources.length, places.length));
  ring.array("starts", starts, 0);
  ring.array("sources", sources, 0);
  ring.array("homes", places, 0);
}

export function writeReturned(ring: CommandRing, { starts, places }: RowGroups): void {
  ring.number("slots", starts.length - 1);
  ring.array("starts", starts, 0);
  ring.array("homes", places, 0);
}
