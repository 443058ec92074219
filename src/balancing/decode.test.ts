import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { answerEstimate, chooseDecodeRank, type DecodeRank } from "./decode.ts";
import { figures, replayDecode, simplePolicies, type Turn } from "./testing/replay.ts";
import { mooncakeTrace, serveGenTrace, type TraceRequest } from "./testing/traces.ts";

const roomy = { kvCapacity: Infinity, requestCapacity: Infinity };
const rank = (kvTokens: number, requests: number, room: Partial<DecodeRank> = {}) => ({
  kvTokens,
  requests,
  ...roomy,
  ...room,
});

test("a long context goes where there is little KV, a short one where there are few requests", () => {
  const ranks = [rank(1000, 10), rank(4000, 4)];
  assert.equal(chooseDecodeRank(3000, ranks), 0);
  assert.equal(chooseDecodeRank(10, [rank(1000, 10), rank(1100, 4)]), 1);
});

test("an idle unit is filled from its first rank, one request each", () => {
  for (const kvTokens of [7, 0]) {
    const ranks = [rank(0, 0), rank(0, 0), rank(0, 0)];
    const chosen = ranks.map(() => {
      const index = chooseDecodeRank(kvTokens, ranks) as number;
      ranks[index] = rank(kvTokens, 1);
      return index;
    });
    assert.deepEqual(chosen, [0, 1, 2]);
  }
});

test("an answer is expected to be as long as the last ones were", () => {
  let estimate = 256;
  for (let i = 0; i < 300; i++) estimate = answerEstimate(estimate, i % 2 ? 90 : 110);
  assert.ok(Math.abs(estimate - 100) < 2, `${estimate}`);
  assert.equal(answerEstimate(100, 100), 100);
});

test("among equal shares the rank with less KV is chosen, then the first", () => {
  assert.equal(chooseDecodeRank(1, [rank(20, 5), rank(10, 5), rank(10, 5)]), 1);
});

test("a rank without room is passed over, and with room nowhere there is no rank", () => {
  const full = rank(90, 1, { kvCapacity: 100 });
  const busy = rank(0, 4, { requestCapacity: 4 });
  assert.equal(chooseDecodeRank(10, [full, busy]), 0);
  assert.equal(chooseDecodeRank(11, [full, busy]), undefined);
  assert.equal(chooseDecodeRank(11, [full, busy, rank(500, 9)]), 2);
  assert.equal(chooseDecodeRank(1, []), undefined);
});

test("KV that is negative or no number is refused", () => {
  for (const bad of [-1, Number.NaN]) {
    assert.throws(() => chooseDecodeRank(bad, [rank(0, 0)]), {
      name: "RangeError",
      message: `kvTokens: expected a number of at least 0, got ${bad}`,
    });
  }
});

const unit = fc.array(
  fc
    .record({ kvTokens: fc.nat(500), requests: fc.nat(8), kvRoom: fc.nat(500), room: fc.nat(4) })
    .map(({ kvTokens, requests, kvRoom, room }) => ({
      kvTokens,
      requests,
      kvCapacity: kvTokens + kvRoom,
      requestCapacity: requests + room,
    })),
  { maxLength: 6 },
);
const contexts = fc.array(fc.nat(300), { maxLength: 24 });

test("no rank exceeds its capacity, and only what fits nowhere is left out", () => {
  fc.assert(
    fc.property(contexts, unit, (requests, ranks) => {
      for (const kvTokens of requests) {
        const before = structuredClone(ranks);
        const chosen = chooseDecodeRank(kvTokens, ranks);
        assert.equal(chooseDecodeRank(kvTokens, ranks), chosen);
        assert.deepEqual(ranks, before);
        const fits = ranks.map(
          (each) =>
            each.kvTokens + kvTokens <= each.kvCapacity && each.requests < each.requestCapacity,
        );
        assert.equal(chosen === undefined ? fits.includes(true) : !fits[chosen], false);
        if (chosen === undefined) continue;
        ranks[chosen].kvTokens += kvTokens;
        ranks[chosen].requests++;
      }
    }),
  );
});

test("the choice does not depend on how the ranks are numbered", () => {
  fc.assert(
    fc.property(fc.nat(300), unit, (kvTokens, ranks) => {
      const chosen = chooseDecodeRank(kvTokens, ranks);
      const reversed = chooseDecodeRank(kvTokens, ranks.toReversed());
      assert.equal(chosen === undefined, reversed === undefined);
      if (chosen === undefined || reversed === undefined) return;
      const mirrored = ranks[ranks.length - 1 - reversed];
      assert.equal(mirrored.kvTokens, ranks[chosen].kvTokens);
    }),
  );
});

const ours = ({ promptTokens }: TraceRequest, { loads }: Turn<{ kvTokens: number }>) =>
  chooseDecodeRank(
    promptTokens,
    loads.map((load) => ({ ...load, ...roomy })),
  ) as number;

for (const [name, trace] of [
  ["Mooncake's conversations", mooncakeTrace(3000)],
  ["ServeGen's DeepSeek-R1 service", serveGenTrace(4000)],
] as const) {
  test(`KV is more even than by simple policies, requests nearly as even: ${name}`, (t) => {
    if (!trace) return t.skip("../shared/data is not here");
    const unitOf = { ranks: 32, requestsPerRank: 32 };
    const [balanced, ...simple] = Object.entries({ balanced: ours, ...simplePolicies }).map(
      ([policy, choose]) => {
        const evenness = replayDecode(trace, unitOf, choose);
        t.diagnostic(`max/mean, ${policy}: ${figures(evenness)}`);
        return evenness;
      },
    );
    for (const other of simple) assert.ok(balanced.kv < 0.8 * other.kv);
    assert.ok(balanced.requests < 1.12);
  });
}
