import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chooseBlockReader, type BlockWays } from "./block-reader.ts";

test("blocks are read where fewer wait to be read, by the prefill rank where that is the same", () => {
  const ways = { blocks: 10, prefill: { blocks: 20 }, decode: { blocks: 20 } };
  assert.equal(chooseBlockReader(ways), "prefill");
  assert.equal(chooseBlockReader({ ...ways, prefill: { blocks: 21 } }), "decode");
  assert.equal(chooseBlockReader({ ...ways, blocks: 0, prefill: { blocks: 99 } }), "prefill");
});

test("what the way between the ranks costs counts against the decode rank", () => {
  const ways = { blocks: 10, prefill: { blocks: 20, msPerBlock: 5 }, decode: { blocks: 0 } };
  assert.equal(chooseBlockReader({ ...ways, lendMs: 9 }), "decode");
  assert.equal(chooseBlockReader({ ...ways, lendMs: 11 }), "prefill");
});

test("a rank that reads faster has more of them", () => {
  const ways = {
    blocks: 8,
    prefill: { blocks: 0, msPerBlock: 30 },
    decode: { blocks: 8, msPerBlock: 10 },
  };
  assert.equal(chooseBlockReader({ ...ways, lendMs: 5 }), "decode");
  assert.equal(chooseBlockReader({ ...ways, lendMs: 15 }), "prefill");
});

const reader = fc.record({
  blocks: fc.nat(100),
  msPerBlock: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
});
const anyWays: fc.Arbitrary<BlockWays> = fc.record({
  blocks: fc.nat(50),
  ...{ prefill: reader, decode: reader },
  lendMs: fc.option(fc.nat(50), { nil: undefined }),
});

test("a longer queue at a rank, or a slower way, never brings it more", () =>
  fc.assert(
    fc.property(anyWays, fc.nat(20), (ways, more) => {
      if (chooseBlockReader(ways) === "prefill") {
        const decode = { ...ways.decode, blocks: ways.decode.blocks + more };
        const slower = { ...ways, lendMs: (ways.lendMs ?? 0) + more };
        assert.equal(chooseBlockReader({ ...ways, decode }), "prefill");
        assert.equal(chooseBlockReader(slower), "prefill");
      } else {
        const prefill = { ...ways.prefill, blocks: ways.prefill.blocks + more };
        assert.equal(chooseBlockReader({ ...ways, prefill }), "decode");
      }
    }),
  ));
