import type { CommandRing } from "./command-ring.ts";
import { formatNumbers, type MappedWeight, type MappedWeights } from "./mapped-weights.ts";
import { rowScales, type Operand, type StoredRows } from "../operand-format.ts";
import { formatOfRows, rowsOf } from "../quantize.ts";
import {
  COUNT_WIDTH,
  type ExpertWeights,
  type GateRule,
  type LogitAdjustments,
  type MlaShape,
  type MlpBuffers,
  type QuantizedDtype,
  type Rope,
  type SortedRows,
  type StepLayout,
} from "../stream.ts";
import { weightFormats, type ScaleBlock } from "../weight-format.ts";
import type { Weight } from "../weight.ts";

/** Arguments that are structs in native/host/operations.h, written field by field. */

const scoringNumbers = { sigmoid: 0, softmax: 1 };
const methodNumbers = { noaux_tc: 0, group_limited_greedy: 1, greedy: 2 };

/** A weight whose rows are as wide as what it is used with. */
export function writeWeight(
  ring: CommandRing,
  name: string,
  weight: Weight,
  mapped: MappedWeight,
  width?: number,
): void {
  if (width !== undefined) refuseOtherWidth(weight, mapped, width);
  writeMapped(ring, name, mapped);
}

function refuseOtherWidth({ name }: Weight, { columns }: MappedWeight, width: number): void {
  if (columns === width) return;
  throw new RangeError(`tensor ${name} has ${columns} columns, ${width} are needed`);
}

/** Weights that are multiplied together, as `like` is, with rows of this width. */
export function writeWeights(
  ring: CommandRing,
  name: string,
  weights: readonly Weight[],
  mapped: MappedWeights,
  width: number,
  like = weights[0],
): void {
  refuseOtherWidth(like, mapped.linear(like), width);
  ring.array(name, mapped.table(weights, like), 0);
}

const noWeight: MappedWeight = {
  ...{ dtype: 0, rows: 0, columns: 0, data: 0, scales: 0, layout: 0, group: 0, int4: 0 },
};

export function writeNoWeight(ring: CommandRing, name: string): void {
  writeMapped(ring, name, noWeight);
}

function writeMapped(ring: CommandRing, name: string, mapped: MappedWeight): void {
  ring.number("dtype", mapped.dtype, name);
  ring.number("rows", mapped.rows, name);
  ring.number("columns", mapped.columns, name);
  ring.number("data", mapped.data, name);
  ring.number("scales", mapped.scales, name);
  ring.number("layout", mapped.layout, name);
  ring.number("group", mapped.group, name);
  ring.number("int4", mapped.int4, name);
}

export function writeOperand(ring: CommandRing, name: string, x: Operand, rows: number): void {
  ring.number("format", formatNumbers[x.format], name);
  ring.number("columns", x.columns, name);
  ring.array("values", x.values, rows * x.columns, name);
  ring.array("scales", x.scales, rows * rowScales(x.format, x.columns), name);
}

export function writeStoredRows(
  ring: CommandRing,
  name: string,
  rows: StoredRows,
  count: number,
): void {
  ring.number("format", formatNumbers[formatOfRows(rows)], name);
  ring.array("values", rows, count, name);
}

/** @throws RangeError unless weights are quantised in such blocks */
export function refuseOtherBlock(dtype: QuantizedDtype, block: ScaleBlock): void {
  const { scaleBlocks } = weightFormats[dtype];
  // Of integers of eight bits only rows have blocks of their own.
  const known = dtype === "I8" ? scaleBlocks.slice(0, 1) : scaleBlocks;
  if (known.some((each) => String(each) === String(block))) return;
  throw new RangeError(`quantizeWeight: ${dtype} has no scales for blocks of ${block.join(" × ")}`);
}

/** @throws RangeError unless rows of one are rows of the other */
export function refuseUnlike(operation: string, out: Operand, x: Operand): void {
  if (out.format === x.format && out.columns === x.columns) return;
  const [got, expected] = [out, x].map(({ format, columns }) => `${columns} ${format}`);
  throw new RangeError(`${operation}: rows of ${got} cannot hold rows of ${expected}`);
}

/** Pairs are at most as many as the buffers and the groups have memory for. */
export function writeGroupedMlp(
  ring: CommandRing,
  x: Operand,
  { gate, up, down }: ExpertWeights,
  { starts, sources }: SortedRows,
  { pairs, sorted, product, ...between }: MlpBuffers,
  weights: MappedWeights,
): void {
  const groups = Math.min(gate.length, starts.length - 1);
  refuseUnlike("groupedMlp", sorted, x);
  writeOperand(ring, "x", x, 0);
  ring.number("xRows", rowsOf(x));
  writeWeights(ring, "gateWeights", gate, weights, sorted.columns);
  writeWeights(ring, "upWeights", up, weights, sorted.columns, gate[0]);
  writeWeights(ring, "downWeights", down, weights, product.columns);
  ring.number("groups", groups);
  ring.array("starts", starts, groups + 1);
  ring.array("sources", sources, 0);
  writeOperand(ring, "sorted", sorted, pairs);
  writeOperand(ring, "product", product, pairs);
  ring.array("gate", between.gate, pairs * product.columns);
  ring.array("up", between.up, pairs * product.columns);
  ring.number("most", Math.min(pairs, sources.length));
}

/** The halves of kv_b_proj, W_UK and W_UV, head after head. */
export function writeKvB(
  ring: CommandRing,
  kvB: Weight,
  weights: MappedWeights,
  shape: MlaShape,
): void {
  const mapped = weights.map(kvB);
  const rows = shape.heads * (shape.nope + shape.value);
  if (mapped.rows !== rows) {
    throw new RangeError(`tensor ${kvB.name} has ${mapped.rows} rows, ${rows} are needed`);
  }
  writeWeight(ring, "kvB", kvB, mapped, shape.latent);
  writeMlaShape(ring, "shape", shape);
}

export function writeMlaShape(ring: CommandRing, name: string, shape: MlaShape): void {
  ring.number("heads", shape.heads, name);
  ring.number("nope", shape.nope, name);
  ring.number("rope", shape.rope, name);
  ring.number("value", shape.value, name);
  ring.number("latent", shape.latent, name);
  ring.number("scale", shape.scale, name);
}

export function writeRope(ring: CommandRing, name: string, rope: Rope, shape: MlaShape): void {
  ring.array("frequencies", rope.frequencies, shape.rope / 2, name);
  ring.number("amplitude", rope.amplitude, name);
  ring.number("interleaved", rope.interleaved ? 1 : 0, name);
}

export function writeLayout(ring: CommandRing, name: string, layout: StepLayout): void {
  const { rows, positions, rowStarts, pageTables, tableStride } = layout;
  const sequences = Math.max(0, rowStarts.length - 1);
  ring.number("rows", rows, name);
  ring.number("sequences", sequences, name);
  ring.number("tableStride", tableStride, name);
  ring.array("positions", positions, rows, name);
  ring.array("rowStarts", rowStarts, sequences + 1, name);
  ring.array("pageTables", pageTables, sequences * tableStride, name);
}

export function writeGateRule(ring: CommandRing, name: string, rule: GateRule): void {
  ring.number("experts", rule.experts, name);
  ring.number("topK", rule.topK, name);
  ring.number("scoring", scoringNumbers[rule.scoring], name);
  ring.number("method", methodNumbers[rule.method], name);
  ring.number("groups", rule.groups, name);
  ring.number("topGroups", rule.topGroups, name);
  ring.number("normalise", rule.normalise ? 1 : 0, name);
  ring.number("scale", rule.scale, name);
}

/** Words of native/host/commands.h's LogitAdjustments. */
const ADJUSTMENT_WORDS = 9;

/** A table of where each row's adjustments lie. */
export function writeAdjustments(
  ring: CommandRing,
  name: string,
  adjustments: readonly (LogitAdjustments | undefined)[],
  rows: number,
): void {
  const table = new Float64Array(rows * ADJUSTMENT_WORDS);
  for (let row = 0; row < rows; row++) {
    const own = adjustments[row];
    if (!own) continue;
    const { counted, distinct, proposed, biasTokens, biases, allowed } = own;
    const at = row * ADJUSTMENT_WORDS;
    table[at] = ring.address("counted", counted, distinct * COUNT_WIDTH);
    table[at + 1] = distinct;
    table[at + 2] = ring.address("proposed", proposed, 0);
    table[at + 3] = proposed.length / COUNT_WIDTH;
    table[at + 4] = ring.address("biasTokens", biasTokens, biases.length);
    table[at + 5] = ring.address("biases", biases, 0);
    table[at + 6] = biases.length;
    if (!allowed) continue;
    table[at + 7] = ring.address("allowed", allowed, 0);
    table[at + 8] = allowed.length;
  }
  ring.array(name, table, table.length);
}
