import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { choosePrefillRank, type PrefillCosts, prefillLoad, type PrefillLoad } from "./prefill.ts";
import { figures, replayPrefill, simplePolicies, type Turn } from "./testing/replay.ts";
import { mooncakeTrace, serveGenTrace, type TraceRequest } from "./testing/traces.ts";

/** Floating-point operations of DeepSeek-V3, all layers: facts of the simulator. */
const costs: PrefillCosts = { perToken: 71.4e9, perAttentionPair: 61 * 81_920 };
const idle: PrefillLoad = { tokens: 0, attentionPairs: 0 };

test("a prompt's load counts uncached tokens, each with all tokens up to itself", () => {
  assert.deepEqual(prefillLoad(4, 0), { tokens: 4, attentionPairs: 1 + 2 + 3 + 4 });
  assert.deepEqual(prefillLoad(4, 2), { tokens: 2, attentionPairs: 3 + 4 });
});

test("an idle unit is filled from its first rank, one prompt each", () => {
  const loads = [idle, idle, idle];
  const chosen = loads.map(() => {
    const request = { promptTokens: 5, cachedTokens: [0, 0, 0] };
    const rank = choosePrefillRank(request, loads, costs);
    loads[rank] = prefillLoad(5, 0);
    return rank;
  });
  assert.deepEqual(chosen, [0, 1, 2]);
});

test("a rank that holds the prefix gets the request when that saves more than it unbalances", () => {
  const linear = { perToken: 1, perAttentionPair: 0 };
  const choose = (cached: number, ahead: number) =>
    choosePrefillRank(
      { promptTokens: 100, cachedTokens: [0, cached] },
      [idle, { tokens: ahead, attentionPairs: 0 }],
      linear,
    );
  assert.equal(choose(64, 63), 1);
  assert.equal(choose(64, 64), 0);
  assert.equal(choose(64, 65), 0);
  assert.equal(choose(0, 1), 0);
});

test("a request avoids the rank with most tokens and the one with most attention", () => {
  const loads = [
    { tokens: 10, attentionPairs: 0 },
    { tokens: 5, attentionPairs: 6 },
    { tokens: 0, attentionPairs: 9 },
  ];
  const request = { promptTokens: 1, cachedTokens: [0, 0, 0] };
  assert.equal(choosePrefillRank(request, loads, { perToken: 1, perAttentionPair: 1 }), 1);
  assert.equal(choosePrefillRank(request, loads, { perToken: 1, perAttentionPair: 0 }), 2);
  assert.equal(choosePrefillRank(request, loads, { perToken: 0, perAttentionPair: 1 }), 0);
});

test("what raises neither of the unit's maxima goes to the rank that ends first", () => {
  const loads = [900, 1000, 100, 200].map((tokens) => ({ tokens, attentionPairs: tokens }));
  const request = { promptTokens: 10, cachedTokens: [0, 0, 0, 0] };
  assert.equal(choosePrefillRank(request, loads, costs), 2);
});

const loadOf = fc.record(
  { tokens: fc.nat(5000), attentionPairs: fc.nat(1e6) },
  { noNullPrototype: true },
);
const unit = fc.array(loadOf, { minLength: 1, maxLength: 6 });
const queue = unit.chain((loads) => {
  const hundredths = fc.integer({ min: 0, max: 99 }).map((percent) => percent / 100);
  const cachedShares = fc.array(hundredths, { minLength: loads.length, maxLength: loads.length });
  const request = fc
    .record({ promptTokens: fc.integer({ min: 1, max: 4000 }), cachedShares })
    .map(({ promptTokens, cachedShares: shares }) => ({
      promptTokens,
      cachedTokens: shares.map((share) => Math.floor(share * promptTokens)),
    }));
  return fc.record({ loads: fc.constant(loads), requests: fc.array(request, { maxLength: 12 }) });
});

test("a request gets one rank, the same every time, and loads stay as they are", () => {
  fc.assert(
    fc.property(queue, ({ loads, requests }) => {
      const before = structuredClone(loads);
      for (const request of requests) {
        const rank = choosePrefillRank(request, loads, costs);
        assert.ok(rank in loads);
        assert.equal(choosePrefillRank(request, loads, costs), rank);
      }
      assert.deepEqual(loads, before);
    }),
  );
});

test("the choice does not depend on how the ranks are numbered", () => {
  fc.assert(
    fc.property(queue, fc.infiniteStream(fc.nat(1000)), ({ loads, requests }, keys) => {
      fc.pre(requests.length > 0);
      const [request] = requests;
      const order = loads.map((_, rank) => ({ rank, key: keys.next().value as number }));
      const numbering = order.sort((a, b) => a.key - b.key).map(({ rank }) => rank);
      const renumbered =
        numbering[
          choosePrefillRank(
            { ...request, cachedTokens: numbering.map((rank) => request.cachedTokens[rank]) },
            numbering.map((rank) => loads[rank]),
            costs,
          )
        ];
      const work = (rank: number) => {
        const added = prefillLoad(request.promptTokens, request.cachedTokens[rank]);
        return (
          (loads[rank].tokens + added.tokens) * costs.perToken +
          (loads[rank].attentionPairs + added.attentionPairs) * costs.perAttentionPair
        );
      };
      assert.equal(work(renumbered), work(choosePrefillRank(request, loads, costs)));
    }),
  );
});

test("an empty unit, or cached tokens that fit neither ranks nor prompt, are refused", () => {
  const refuses = (cachedTokens: number[], ranks: number, message: RegExp) =>
    assert.throws(
      () =>
        choosePrefillRank(
          { promptTokens: 8, cachedTokens },
          Array.from({ length: ranks }, () => idle),
          costs,
        ),
      { name: "RangeError", message },
    );
  refuses([], 0, /loads: expected one or more ranks, got none/);
  refuses([0], 2, /cachedTokens: expected 2 ranks, got 1/);
  refuses([0, 8], 2, /rank 1: expected at least 0 and less than the prompt's 8, got 8/);
  refuses([-1, 0], 2, /rank 0: expected at least 0 and less than the prompt's 8, got -1/);
});

const ours = ({ promptTokens }: TraceRequest, { loads, cachedTokens }: Turn<PrefillLoad>) =>
  choosePrefillRank({ promptTokens, cachedTokens }, loads, costs);

for (const [name, trace] of [
  ["Mooncake's conversations", mooncakeTrace(3000)],
  ["ServeGen's DeepSeek-R1 service", serveGenTrace(6000)],
] as const) {
  test(`attention and work are more even than by simple policies: ${name}`, (t) => {
    if (!trace) return t.skip("../shared/data is not here");
    const unitOf = { ranks: 32, requestsPerRank: 8 };
    const [balanced, ...simple] = Object.entries({ balanced: ours, ...simplePolicies }).map(
      ([policy, choose]) => {
        const evenness = replayPrefill(trace, unitOf, costs, choose);
        t.diagnostic(`max/mean, ${policy}: ${figures(evenness)}`);
        return evenness;
      },
    );
    for (const other of simple) {
      assert.ok(balanced.attention < 0.9 * other.attention);
      assert.ok(balanced.work < 0.9 * other.work);
      assert.ok(balanced.tokens < other.tokens);
      assert.ok(balanced.hitShare >= other.hitShare);
    }
    assert.ok(balanced.attention < 1.15 * balanced.longestPrompt);
  });
}
