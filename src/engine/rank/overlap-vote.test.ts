import assert from "node:assert/strict";
import { test } from "node:test";
import { OverlapVote } from "./overlap-vote.ts";

const decode = { rows: 32, hasPrompts: false };

/** Votes of a rank whose steps take so long, from its first step on. */
function votes(overlappedMs: number, wholeMs: number, steps: number, step = decode): number[] {
  const vote = new OverlapVote();
  return Array.from({ length: steps }, () => {
    const own = vote.vote(step);
    vote.learn(step, own > 0, own > 0 ? overlappedMs : wholeMs);
    return own;
  });
}

test("a rank tries both, then votes for what was faster", () => {
  const trials = [-1, 1, -1, 1, -1, 1];
  assert.deepEqual(votes(2, 3, 9), [...trials, 1, 1, 1]);
  assert.deepEqual(votes(3, 2, 9), [...trials, -1, -1, -1]);
});

test("a single late step decides nothing", () => {
  const vote = new OverlapVote();
  for (let step = 0; step < 6; step++) vote.learn(decode, step % 2 === 0, step % 2 === 0 ? 2 : 3);
  vote.learn(decode, true, 1000);
  assert.equal(vote.vote(decode), 1);
});

test("steps of other kinds or sizes are compared apart, by the row", () => {
  const vote = new OverlapVote();
  for (let step = 0; step < 6; step++) vote.learn(decode, step % 2 === 0, step % 2 === 0 ? 2 : 3);
  assert.equal(vote.vote({ rows: 24, hasPrompts: false }), 1);
  assert.equal(vote.vote({ rows: 32, hasPrompts: true }), -1, "which begins to try");
  assert.equal(vote.vote({ rows: 512, hasPrompts: false }), -1);
});

test("who has nothing to divide has no opinion", () => {
  const vote = new OverlapVote();
  vote.learn({ rows: 0, hasPrompts: false }, true, 1);
  assert.deepEqual(
    [0, 1].map((rows) => vote.vote({ rows, hasPrompts: false })),
    [0, 0],
  );
});
