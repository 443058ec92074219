import assert from "node:assert/strict";
import { test } from "node:test";
import { loadNative } from "../../kernels/native-addon.ts";
import { createNativeKernels, policies, type Kernels, type Stream } from "../../kernels/index.ts";
import { readConfig } from "../checkpoint/index.ts";
import { changedKernels, tinyFixtures } from "../fixtures.ts";
import { LatentAttention } from "./mla.ts";
import { loadModel } from "./model.ts";
import type { StepBatch } from "./step.ts";
import { Workspace } from "./workspace.ts";

const { addon, problem } = loadNative();

const MAX_ROWS = 7;
const PAGES = 3;

/** Buffers that an operation is called with, in objects too; a rope's few frequencies are none. */
function buffersOf(value: unknown): NodeJS.TypedArray[] {
  if (ArrayBuffer.isView(value)) return [value as NodeJS.TypedArray];
  if (typeof value !== "object" || value === null || "frequencies" in value) return [];
  return Object.values(value).flatMap(buffersOf);
}

/** Kernels that collect what their streams are handed. */
function collectingKernels(handed: Set<NodeJS.TypedArray>): Kernels {
  return changedKernels(
    (stream) =>
      new Proxy<Partial<Stream>>(
        {},
        {
          get: (_, name: keyof Stream) => {
            if (typeof stream[name] !== "function") return undefined;
            return (...values: unknown[]) => {
              for (const array of values.flatMap(buffersOf)) handed.add(array);
              return (stream[name] as (...values: unknown[]) => unknown)(...values);
            };
          },
        },
      ),
    createNativeKernels(),
  );
}

function batchOf(rows: number): StepBatch {
  const each = Int32Array.from({ length: rows }, (_, i) => i);
  return {
    ...{ rows, tokens: each, positions: each, rowStarts: Int32Array.of(0, rows) },
    ...{ pageTables: Int32Array.of(2, 0, 1), tableStride: PAGES, logitRows: each },
  };
}

test(
  "a model hands its stream buffers that begin on a cache line",
  { skip: problem ?? false },
  async () => {
    const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");
    for (const policy of policies) {
      const handed = new Set<NodeJS.TypedArray>();
      const kernels = collectingKernels(handed);
      const model = await loadModel(fixture.directory, { kernels, policy, maxRows: MAX_ROWS });
      const pool = model.createKvPool(PAGES);
      const given = new Set<NodeJS.TypedArray>();
      for (const rows of [1, MAX_ROWS]) {
        const batch = batchOf(rows);
        buffersOf(batch).forEach((array) => given.add(array));
        await model.forward(batch, pool);
      }
      const own = [...handed].filter((array) => !given.has(array));
      assert.ok(own.length >= 20, `${own.length} buffers`);
      for (const array of own) {
        const past = (addon?.address(array) ?? 0) % 64;
        assert.equal(past, 0, `${array.constructor.name} of ${array.length} under ${policy}`);
      }
    }
  },
);

test("the routed experts' input is no buffer that a projection writes", async () => {
  const config = await readConfig(tinyFixtures()[0].directory);
  const { shape } = new LatentAttention(config);
  const workspace = new Workspace(config, shape, 2);
  const input = workspace.expertInput("bf16");
  assert.equal(workspace.expertInput("bf16"), input);
  assert.notEqual(workspace.operand("bf16", config.hiddenSize), input);
});
