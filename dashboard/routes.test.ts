import assert from "node:assert/strict";
import { test } from "node:test";
import { pointOn, routeOf, seatIn } from "./routes.ts";

const [start, wire, end] = [
  { x: 0, y: 0 },
  { x: 100, y: 40 },
  { x: 120, y: 200 },
];

test("a route begins at its start, passes its wire halfway, and ends at its end", () => {
  const route = routeOf(start, wire, end);
  assert.deepEqual(
    [0, 0.5, 1].map((share) => pointOn(route, share)),
    [start, wire, end],
  );
  assert.deepEqual(pointOn(routeOf(start, undefined, end), 0.25), { x: 30, y: 50 });
});

test("seats fill rows from the left, and all lie in their box", () => {
  const box = { left: 100, top: 50, width: 35, height: 20 };
  const seats = Array.from({ length: 8 }, (_, seat) => seatIn(box, seat));
  assert.deepEqual(seats.slice(0, 4), [
    { x: 105, y: 55 },
    { x: 115, y: 55 },
    { x: 125, y: 55 },
    { x: 105, y: 65 },
  ]);
  assert.deepEqual(seats[7], seats[5], "there are six");
});
