import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { randomSource, toBf16, fromBf16, fromF16, WeightReader } from "../../kernels/index.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-packed-"));
after(() => rmSync(scratch, { recursive: true }));

const [OUTPUTS, INPUTS, GROUP] = [24, 64, 32];
const GROUPS = INPUTS / GROUP;
const random = randomSource(11);
const draw = (count: number, most: number) =>
  Array.from({ length: count }, () => Math.floor(random() * (most + 1)));
/** [outputs, inputs], [outputs, groups] and [outputs, groups] */
const codes = draw(OUTPUTS * INPUTS, 15);
// GPTQ stores one less than a zero point.
const zeroPoints = draw(OUTPUTS * GROUPS, 14).map((z) => z + 1);
/** F16 and BF16 values alike. */
const scales = draw(OUTPUTS * GROUPS, 3).map((x) => 2 ** -x);

/** Words of eight codes; `code` is that of a word's place. */
function words(count: number, code: (word: number, place: number) => number): Uint8Array {
  const out = new Uint32Array(count);
  for (let word = 0; word < count; word++) {
    for (let place = 0; place < 8; place++) out[word] |= code(word, place) << (4 * place);
  }
  return new Uint8Array(out.buffer);
}

const halves = (values: number[], encode: (x: number) => number) =>
  new Uint8Array(Uint16Array.from(values, encode).buffer);
/** Of a power of two. */
const toF16 = (x: number) => (Math.log2(x) + 15) << 10;
const byGroup = (values: readonly number[]) =>
  values.map((_, i) => values[(i % OUTPUTS) * GROUPS + Math.floor(i / OUTPUTS)]);

type Tensors = Record<string, [dtype: string, shape: number[], bytes: Uint8Array]>;

const compressedTensors: Tensors = {
  "x.weight_packed": [
    "I32",
    [OUTPUTS, INPUTS / 8],
    words((OUTPUTS * INPUTS) / 8, (word, place) => codes[8 * word + place]),
  ],
  "x.weight_scale": ["BF16", [OUTPUTS, GROUPS], halves(scales, toBf16)],
  "x.weight_zero_point": [
    "I32",
    [OUTPUTS / 8, GROUPS],
    words((OUTPUTS * GROUPS) / 8, (word, place) => {
      const output = 8 * Math.floor(word / GROUPS) + place;
      return zeroPoints[output * GROUPS + (word % GROUPS)];
    }),
  ],
};

const scalesByGroup: Tensors[string] = ["F16", [GROUPS, OUTPUTS], halves(byGroup(scales), toF16)];
const zerosByGroup = byGroup(zeroPoints);

/** Eight inputs of an output in a word; zero points less one. */
const gptq = (bias: number): Tensors => ({
  "x.qweight": [
    "I32",
    [INPUTS / 8, OUTPUTS],
    words((OUTPUTS * INPUTS) / 8, (word, place) => {
      const input = 8 * Math.floor(word / OUTPUTS) + place;
      return codes[(word % OUTPUTS) * INPUTS + input];
    }),
  ],
  "x.qzeros": [
    "I32",
    [GROUPS, OUTPUTS / 8],
    words((OUTPUTS * GROUPS) / 8, (word, place) => zerosByGroup[8 * word + place] - bias),
  ],
  "x.scales": scalesByGroup,
});

const awqOrder = [0, 2, 4, 6, 1, 3, 5, 7];
const awq: Tensors = {
  "x.qweight": [
    "I32",
    [INPUTS, OUTPUTS / 8],
    words((OUTPUTS * INPUTS) / 8, (word, place) => {
      const perRow = OUTPUTS / 8;
      const output = 8 * (word % perRow) + awqOrder[place];
      return codes[output * INPUTS + Math.floor(word / perRow)];
    }),
  ],
  "x.qzeros": [
    "I32",
    [GROUPS, OUTPUTS / 8],
    words((OUTPUTS * GROUPS) / 8, (word, place) => zerosByGroup[8 * word + awqOrder[place]]),
  ],
  "x.scales": scalesByGroup,
};

async function weightOf(tensors: Tensors, zeroPointBias: number) {
  const directory = mkdtempSync(join(scratch, "checkpoint-"));
  const layouts = Object.entries(tensors).map(([name, [dtype, shape, bytes]]) => {
    return { name, dtype, shape, bytes: bytes.length };
  });
  await writeSafetensors(join(directory, "model.safetensors"), layouts, async (write) => {
    for (const [, , bytes] of Object.values(tensors)) await write(bytes);
  });
  const checkpoint = await openCheckpoint(directory, { scales: "f32", zeroPointBias });
  return checkpoint.weight("x.weight", [OUTPUTS, INPUTS]);
}

const layouts: [string, Tensors, number][] = [
  ["compressed-tensors'", compressedTensors, 0],
  ["GPTQ's", gptq(1), 1],
  ["GPTQ's second", gptq(0), 0],
  ["AWQ's", awq, 0],
];

for (const [name, tensors, bias] of layouts) {
  test(`${name} layout gives every code less its zero point, and its scale`, async () => {
    const loaded = new WeightReader().load(await weightOf(tensors, bias));
    assert.deepEqual([...loaded.scales!], scales);
    for (let output = 0; output < OUTPUTS; output++) {
      const expected = Array.from({ length: INPUTS }, (_, input) => {
        const group = Math.floor(input / GROUP);
        return codes[output * INPUTS + input] - zeroPoints[output * GROUPS + group];
      });
      assert.deepEqual([...loaded.row(output)], expected, `output ${output}`);
    }
  });
}

test("without zero points eight is zero", async () => {
  const { "x.weight_zero_point": _, ...symmetric } = compressedTensors;
  const { "x.qzeros": __, ...plain } = awq;
  for (const tensors of [symmetric, plain]) {
    const row = new WeightReader().load(await weightOf(tensors, 0)).row(1);
    assert.deepEqual(
      [...row],
      codes.slice(INPUTS, 2 * INPUTS).map((code) => code - 8),
    );
  }
});

test("a packed tensor that is missing, misshapen or of another kind is refused by name", async () => {
  const { "x.scales": _, ...unscaled } = gptq(1);
  await assert.rejects(weightOf(unscaled, 1), /x\.weight: INT4 without x\.scales/);
  const [dtype, , bytes] = compressedTensors["x.weight_packed"];
  const wide = { ...compressedTensors, "x.weight_packed": [dtype, [12, 16], bytes] } as Tensors;
  await assert.rejects(
    weightOf(wide, 0),
    /x\.weight_packed: expected I32 \[24, 8\], got I32 \[12, 16\]/,
  );
  const floats = { ...awq, "x.scales": ["I16", [GROUPS, OUTPUTS], scalesByGroup[2]] } as Tensors;
  await assert.rejects(weightOf(floats, 0), /x\.scales: expected BF16 or F16 or F32, got I16/);
  const other = { ...awq, "x.scales": ["F16", [1, 48], scalesByGroup[2]] } as Tensors;
  await assert.rejects(
    weightOf(other, 0),
    /x\.scales: expected scales of 24 outputs and groups of 32/,
  );
});

test("scales drawn for these tests are exact in both formats", () => {
  for (const scale of scales) {
    assert.equal(fromF16(toF16(scale)), scale);
    assert.equal(fromBf16(toBf16(scale)), scale);
  }
});
