import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PAGE_TOKENS } from "../kernels/index.ts";
import type { KvPool } from "../model/index.ts";
import {
  decodeTransfer,
  encodeTransfer,
  readEntries,
  TransferError,
  writeEntries,
  type KvEntries,
} from "./transfer.ts";

const WIDTH = 3;
const LAYERS = 2;
const PAGES = 4;

type Rows = Float32ArrayConstructor | Uint16ArrayConstructor;

/** A pool whose values name their places, or an empty one. */
function createKv(filled: boolean, rows: Rows): KvPool {
  const count = PAGES * PAGE_TOKENS * WIDTH;
  const layers = Array.from({ length: LAYERS }, (_, layer) => {
    const entries = new rows(count);
    if (filled) entries.forEach((__, i) => (entries[i] = layer * count + i + 1));
    return { entries };
  });
  return { layers, width: WIDTH };
}

const entriesOf = (layer: number, first: number, bytes: Uint8Array, count: number) =>
  ({ kind: "entries", handle: 7, layer, first, count, bytes }) as const;

test("a prompt's KV arrives whole, however it was cut and wherever its pages lie", () =>
  fc.assert(
    fc.property(
      fc.constantFrom<Rows[]>(Float32Array, Uint16Array),
      fc.integer({ min: 1, max: 3 * PAGE_TOKENS }),
      fc.array(fc.nat(200), { maxLength: 5 }),
      fc.shuffledSubarray([0, 1, 2, 3], { minLength: 3 }),
      fc.shuffledSubarray([0, 1, 2, 3], { minLength: 3 }),
      (rows, tokens, cuts, pages, otherPages) => {
        const source = createKv(true, rows);
        const target = createKv(false, rows);
        const ends = [...cuts.filter((cut) => cut < tokens), tokens].sort((a, b) => a - b);
        ends.forEach((end, i) => {
          const first = i === 0 ? 0 : ends[i - 1];
          for (let layer = 0; layer < LAYERS; layer++) {
            const bytes = readEntries(source, layer, pages, first, end);
            const sent = decodeTransfer(
              encodeTransfer(entriesOf(layer, first, bytes, end - first)),
            );
            writeEntries(target, otherPages, sent as KvEntries);
          }
        });
        for (let layer = 0; layer < LAYERS; layer++) {
          assert.deepEqual(
            readEntries(target, layer, otherPages, 0, tokens),
            readEntries(source, layer, pages, 0, tokens),
          );
        }
      },
    ),
  ));

test("offers, grants, hand-overs and abandonments say what they said", () => {
  for (const message of [
    { kind: "offer", handle: 4, first: 64, count: 128, computeMs: 250 },
    { kind: "grant", handle: 2, first: 192 },
    { kind: "handover", handle: 3, token: 42 },
    { kind: "abandon", handle: 9 },
  ] as const) {
    assert.deepEqual(decodeTransfer(encodeTransfer(message)), message);
  }
});

test("entries outside the pages, of a wrong size or in no layer are refused", () => {
  const kv = createKv(false, Float32Array);
  const bytes = new Uint8Array(2 * WIDTH * 4);
  const last = PAGE_TOKENS - 2;
  writeEntries(kv, [1], entriesOf(1, last, bytes, 2));
  for (const wrong of [
    entriesOf(1, last + 1, bytes, 2),
    entriesOf(1, -1, bytes, 2),
    entriesOf(1, 0, bytes, 3),
    entriesOf(1, 4, bytes.subarray(0, 0), -2),
    entriesOf(2, 0, bytes, 2),
    entriesOf(0, 0, bytes.subarray(1), 2),
  ]) {
    assert.throws(() => writeEntries(kv, [1], wrong), TransferError);
  }
  assert.throws(() => decodeTransfer(new Uint8Array(19)), TransferError);
  assert.throws(() => decodeTransfer(new Uint8Array(20).fill(9)), TransferError);
});
