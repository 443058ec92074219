import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { tickingClock } from "./fixtures.ts";
import { NO_LAYER, spanNames } from "./span.ts";
import { clockSince, SpanRecorder } from "./tracer.ts";

const recorder = (capacity?: number) =>
  new SpanRecorder({
    node: 2,
    rank: 5,
    clock: tickingClock(),
    ...(capacity === undefined ? {} : { capacity }),
  });

test("a recorder keeps who, what, when and what for of every span", () => {
  const tracer = recorder();
  const step = tracer.beginStep(7, 3);
  const attention = tracer.begin("ATTN", 1, 2, 1);
  tracer.end(attention);
  tracer.end(step);
  const { names, ...columns } = tracer.take();
  assert.deepEqual(
    [...names].map((name) => spanNames[name]),
    ["STEP", "ATTN"],
  );
  assert.deepEqual(columns, {
    node: 2,
    rank: 5,
    starts: Float64Array.of(0, 1),
    ends: Float64Array.of(3, 2),
    steps: Int32Array.of(7, 7),
    layers: Int16Array.of(NO_LAYER, 1),
    rows: Int32Array.of(3, 2),
    microBatches: Int32Array.of(0, 1),
  });
});

test("spans in flight at once end in any order", () => {
  const tracer = recorder();
  const [a, b] = [tracer.begin("DISPATCH", 0, 1, 0), tracer.begin("DISPATCH", 0, 1, 1)];
  tracer.end(a);
  tracer.end(b);
  assert.deepEqual(tracer.take().ends, Float64Array.of(2, 3));
});

test("more spans than there is room for are all kept", () => {
  const [small, large] = [recorder(1), recorder(100)];
  for (const tracer of [small, large]) {
    const step = tracer.beginStep(1, 9);
    for (let i = 0; i < 20; i++) tracer.end(tracer.begin("MLP", i, 10 * i, i % 2));
    tracer.end(step);
  }
  assert.deepEqual(small.take(), large.take());
});

test("what was taken is no longer the recorder's", () => {
  const tracer = recorder();
  tracer.end(tracer.begin("ATTN", 0, 1));
  const first = tracer.take();
  tracer.end(tracer.begin("MLP", 3, 2));
  assert.deepEqual(first.layers, Int16Array.of(0));
  assert.deepEqual(tracer.take().layers, Int16Array.of(3));
  assert.equal(tracer.take().names.length, 0);
});

test("a span that an error kept from ending has no end, even where an older one had", () => {
  const tracer = recorder();
  tracer.end(tracer.begin("ATTN", 0, 1));
  tracer.take();
  tracer.begin("ATTN", 0, 1);
  assert.deepEqual(tracer.take().ends, Float64Array.of(Number.NaN));
});

test("a clock counts microseconds from its epoch", (t) => {
  t.mock.method(performance, "now", () => 10.5);
  assert.equal(clockSince(performance.timeOrigin - 4)(), 14_500);
});

test("clocks of two threads agree", async () => {
  const epochMs = Date.now();
  const clock = clockSince(epochMs);
  const worker = new Worker(
    `import("node:worker_threads").then(async ({ parentPort, workerData }) => {
      const { clockSince } = await import(workerData.module);
      parentPort.postMessage(clockSince(workerData.epochMs)());
    });`,
    { eval: true, workerData: { epochMs, module: new URL("./tracer.js", import.meta.url).href } },
  );
  const before = clock();
  const there = await new Promise<number>((resolve) => worker.once("message", resolve));
  const after = clock();
  await worker.terminate();
  assert.ok(before < there && there < after, `${before} < ${there} < ${after}`);
});
