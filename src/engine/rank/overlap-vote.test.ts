import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { randomSource } from "../../kernels/index.ts";
import { OverlapVote, type OwnStep } from "./overlap-vote.ts";

/** Milliseconds of a step, and of a whole one the share that is waited. */
interface Wire {
  readonly overlapped: (rows: number) => number;
  readonly whole: (rows: number) => number;
  readonly waited: number;
}

/** A unit of one rank over a wire, on a clock of its own: what it did, and what that took. */
function run(wire: Wire, steps: readonly OwnStep[], noise = 0) {
  const vote = new OverlapVote();
  const random = randomSource(3);
  let total = 0;
  let best = 0;
  const overlaps = steps.map((step) => {
    const { saves, trial } = vote.opinion(step);
    const overlapped = saves > 0 !== trial;
    const times = { overlapped: wire.overlapped(step.rows), whole: wire.whole(step.rows) };
    const milliseconds = (overlapped ? times.overlapped : times.whole) * (1 + noise * random());
    vote.learn(step, { overlapped, milliseconds, waitedMs: wire.waited * milliseconds });
    total += milliseconds;
    best += Math.min(times.overlapped, times.whole) * (1 + noise / 2);
    return overlapped;
  });
  return { overlaps, overhead: total / best - 1 };
}

const repeated = (steps: number, rows = 32, hasPrompts = false): OwnStep[] =>
  Array.from({ length: steps }, () => ({ rows, hasPrompts }));

const slower = (factor: number, waited = 0.3): Wire => ({
  overlapped: (rows) => rows * factor,
  whole: (rows) => rows,
  waited,
});

test("a step waits for nothing: there is nothing to hide, and no trial", () => {
  const { overlaps } = run(slower(1.2, 0.01), repeated(500));
  assert.equal(overlaps.filter(Boolean).length, 0);
});

test("where overlap is slower, trials of it cost less than three hundredths", () => {
  for (const factor of [1.01, 1.05, 1.16, 1.5, 3]) {
    const { overhead } = run(slower(factor), repeated(300));
    assert.ok(overhead < 0.03, `${factor}: ${overhead}`);
  }
});

test("where overlap is faster, a unit overlaps from its third step on", () => {
  for (const factor of [0.85, 0.6]) {
    const { overlaps, overhead } = run(slower(factor), repeated(200, 1024, true));
    assert.deepEqual(overlaps.slice(0, 4), [false, false, true, true], "the first step is cold");
    assert.ok(overhead < 0.03, `${factor}: ${overhead}`);
  }
});

test("times that vary by a tenth cost no more", () => {
  for (const factor of [0.85, 1.16]) {
    const { overhead } = run(slower(factor), repeated(300), 0.1);
    assert.ok(overhead < 0.03, `${factor}: ${overhead}`);
  }
});

test("a unit finds out that its wire has changed, both ways", () => {
  for (const [before, after] of [
    [0.8, 1.2],
    [1.2, 0.8],
  ]) {
    let step = 0;
    const changing: Wire = {
      overlapped: (rows) => rows * (step++ < 100 ? before : after),
      whole: (rows) => rows,
      waited: 0.3,
    };
    const { overlaps } = run(changing, repeated(600));
    const late = overlaps.slice(-100).filter((overlapped) => overlapped === after < 1);
    assert.ok(late.length > 90, `${before} to ${after}: ${late.length} of the last hundred`);
  }
});

test("sizes are judged apart, and at first as the nearest", () => {
  // Few rows pay for reading weights twice.
  const wire: Wire = {
    overlapped: (rows) => 100 + 0.6 * rows,
    whole: (rows) => 60 + rows,
    waited: 0.3,
  };
  const sizes = [1024, 512, 64, 16, 4];
  const steps = Array.from({ length: 1500 }, (_, step) => ({
    rows: sizes[step % sizes.length],
    hasPrompts: false,
  }));
  const { overlaps, overhead } = run(wire, steps);
  const late = (rows: number) =>
    overlaps.filter((_, step) => step >= 1000 && steps[step].rows === rows);
  for (const rows of sizes) {
    const share = late(rows).filter(Boolean).length / late(rows).length;
    assert.ok(rows > 100 ? share > 0.9 : share < 0.1, `${rows} rows: ${share}`);
  }
  assert.ok(overhead < 0.03, `${overhead}`);
});

test("steps with prompts say nothing of steps that decode", () => {
  const vote = new OverlapVote();
  for (const overlapped of [false, false, true]) {
    const outcome = { overlapped, milliseconds: overlapped ? 1 : 2, waitedMs: 0.5 };
    vote.learn({ rows: 32, hasPrompts: true }, outcome);
  }
  assert.ok(vote.opinion({ rows: 32, hasPrompts: true }).saves > 0);
  assert.ok(vote.opinion({ rows: 32, hasPrompts: false }).saves < 0);
});

test("who has nothing to divide has no opinion", () => {
  const vote = new OverlapVote();
  for (const rows of [0, 1]) {
    vote.learn({ rows, hasPrompts: false }, { overlapped: true, milliseconds: 1, waitedMs: 0 });
    assert.deepEqual(vote.opinion({ rows, hasPrompts: false }), { saves: 0, trial: false });
  }
});

test("whatever the wire, a thousand steps take at most three hundredths more than the better way", () => {
  const property = fc.property(
    fc.integer({ min: 40, max: 300 }).map((percent) => percent / 100),
    fc.integer({ min: 0, max: 1000 }).map((thousandths) => thousandths / 1000),
    fc.integer({ min: 2, max: 2000 }),
    (factor, waited, rows) => {
      // What is hidden was waited for.
      const possible = Math.max(factor, 1 - waited);
      assert.ok(run(slower(possible, waited), repeated(1000, rows)).overhead < 0.03);
    },
  );
  // At the edge of what is worth a trial.
  fc.assert(property, { examples: [24, 25, 29, 30].map((each) => [0.4, each / 1000, 1995]) });
});
