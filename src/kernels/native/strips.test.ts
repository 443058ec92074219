import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import fc from "fast-check";
import { randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { rowBytes, SCALE_BLOCK, weightFormats, type WeightDtype } from "../weight-format.ts";
import type { Weight } from "../weight.ts";
import { nativeProblem } from "./native.ts";
import { STRIP_LAYOUT, StripPacker } from "./strips.ts";

const skip = nativeProblem() ?? false;
const folder = new WeightFolder();
after(() => folder.remove());

const STRIP_ROWS = 16;
const dtypes = ["F8_E4M3", "I8", "BF16", "I4"] as const;

async function packed(weight: Weight, most: number): Promise<Buffer> {
  const packer = new StripPacker();
  const pieces: Uint8Array[] = [];
  for await (const piece of packer.pieces([weight], most)) pieces.push(piece.slice());
  const bytes = Buffer.concat(pieces);
  assert.equal(bytes.length, packer.bytesOf(weight));
  assert.equal(bytes.length % 64, 0);
  return bytes;
}

const codesOf = ({ file, offset }: Weight) => readFileSync(file).subarray(offset);

/** What native/host/strips.h says of a place: the byte of a code, and of its scale where strips have it. */
function placeOf(dtype: WeightDtype, bytes: Buffer, shape: readonly number[]) {
  const [rows, columns] = shape;
  const strips = Math.ceil(rows / STRIP_ROWS);
  const blocks = Math.ceil(columns / SCALE_BLOCK);
  const blockBytes = bytes.length / strips / blocks;
  const { valueBits, scaleBlocks } = weightFormats[dtype];
  const group = scaleBlocks[0]?.[1] ?? SCALE_BLOCK;
  const codeBytes = (STRIP_ROWS * SCALE_BLOCK * valueBits) / 8;
  return (row: number, column: number) => {
    const strip = Math.floor(row / STRIP_ROWS);
    const block = Math.floor(column / SCALE_BLOCK);
    const from = (strip * blocks + block) * blockBytes;
    const bit = (column % SCALE_BLOCK) * valueBits;
    const word = Math.floor(bit / 32) * STRIP_ROWS + (row % STRIP_ROWS);
    const inBlock = Math.floor((column % SCALE_BLOCK) / group);
    return {
      code: from + 4 * word + Math.floor((bit % 32) / 8),
      scale: from + codeBytes + 4 * (inBlock * STRIP_ROWS + (row % STRIP_ROWS)),
    };
  };
}

test(
  "strips hold every code and every row's scales where their layout says, whatever the shape and the pieces",
  { skip },
  async () => {
    const sizes = fc.record({
      dtype: fc.constantFrom(...dtypes),
      rows: fc.integer({ min: 1, max: 70 }),
      columns: fc.integer({ min: 1, max: 400 }),
      most: fc.integer({ min: 1, max: 100_000 }),
    });
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), async ({ dtype, rows, columns, most }, seed) => {
        const { weight } = folder.create(randomSource(seed), dtype, [rows, columns]);
        const bytes = await packed(weight, most);
        const place = placeOf(dtype, bytes, weight.shape);
        const codes = codesOf(weight);
        const { valueBits, scaleBlocks } = weightFormats[dtype];
        const flip = dtype === "I8" ? 0x80 : 0;
        const width = rowBytes(dtype, columns);
        const group = scaleBlocks[0]?.[1] ?? 0;
        const rowScales = scaleBlocks[0]?.[0] === 1 ? codesOf(weight.scale!) : undefined;
        for (let row = 0; row < rows; row++) {
          for (let column = 0; column < columns; column++) {
            const from = row * width + Math.floor((column * valueBits) / 8);
            const { code, scale } = place(row, column);
            // The codes of a byte of INT4 are compared at once, the last of a row with what pads it.
            for (let i = 0; i < Math.max(1, valueBits / 8); i++) {
              assert.equal(bytes[code + i], codes[from + i] ^ flip, `code ${row}, ${column}`);
            }
            const at = row * Math.ceil(columns / group) + Math.floor(column / group);
            const expected = rowScales?.readFloatLE(4 * at) ?? 0;
            if (rowScales) assert.equal(bytes.readFloatLE(scale), expected);
          }
        }
      }),
      { numRuns: 40 },
    );
  },
);

test(
  "a change of the strips' layout is noticed, so that STRIP_LAYOUT is raised",
  { skip },
  async () => {
    const hash = createHash("sha256");
    for (const dtype of dtypes) {
      hash.update(await packed(folder.create(randomSource(1), dtype, [37, 300]).weight, 2 ** 20));
    }
    const known = { layout: 1, digest: "c0bace5b68699274" };
    const digest = hash.digest("hex").slice(0, 16);
    assert.deepEqual({ layout: STRIP_LAYOUT, digest }, known);
  },
);
