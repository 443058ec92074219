import assert from "node:assert/strict";
import { test } from "node:test";
import { Journeys, travel, type Journey } from "./journeys.ts";

const begin = (journeys: Journeys, number: number) =>
  journeys.begin({ number, rank: 0, decodeRank: 2, asked: number });

const numbers = (journeys: readonly Readonly<Journey>[]) => journeys.map(({ number }) => number);

test("a journey has the time of each station, the first that is told", () => {
  const journey = begin(new Journeys(), 1) as Journey;
  travel(journey, "started", 0, 10);
  travel(journey, "token", 0, 20);
  travel(journey, "started", 2, 25);
  travel(journey, "token", 2, 30);
  travel(journey, "token", 2, 40);
  const { asked, started, prefilled, takenOver, ended } = journey;
  assert.deepEqual([asked, started, prefilled, takenOver, ended], [1, 10, 20, 30, undefined]);
});

test("a sequence that its prefill rank finishes is taken over by nobody", () => {
  const journey = begin(new Journeys(), 1) as Journey;
  travel(journey, "started", 0, 10);
  travel(journey, "token", 0, 20);
  travel(journey, "finished", 0, 20);
  assert.equal(journey.takenOver, undefined);
});

test("who looks is told of those on their way and those that ended lately", () => {
  const journeys = new Journeys();
  const [first, second] = [1, 2, 3].map((number) => begin(journeys, number)) as Journey[];
  first.ended = 50;
  second.ended = 70;
  assert.deepEqual(numbers(journeys.since(60)), [2, 3]);
  assert.deepEqual(numbers(journeys.since(60)), [2, 3], "looking changes nothing");
});

test("of more than can be followed some are not, and who ended makes room first", () => {
  const journeys = new Journeys(3);
  const all = [1, 2, 3].map((number) => begin(journeys, number)) as Journey[];
  assert.equal(begin(journeys, 4), undefined, "all are on their way");
  all[1].ended = 5;
  assert.ok(begin(journeys, 5));
  assert.deepEqual(numbers(journeys.since(0)), [1, 3, 5]);
});
