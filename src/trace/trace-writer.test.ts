import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { temporaryFile, tickingClock } from "./fixtures.ts";
import type { SpanBatch } from "./span.ts";
import { TraceError } from "./trace-error.ts";
import { readTrace } from "./trace-reader.ts";
import { TraceWriter } from "./trace-writer.ts";
import { SpanRecorder } from "./tracer.ts";

/** One step of one layer on a rank. */
function stepOf(node: number, rank: number): SpanBatch {
  const tracer = new SpanRecorder({ node, rank, clock: tickingClock() });
  const step = tracer.beginStep(4, 3);
  tracer.end(tracer.begin("ATTN", 1, 3));
  tracer.end(tracer.begin("DISPATCH", 1, 2, 1));
  tracer.end(step);
  return tracer.take();
}

async function write(file: string, ...batches: SpanBatch[]): Promise<string> {
  const writer = await TraceWriter.create(file, 0);
  for (const batch of batches) writer.write(batch);
  await writer.close();
  return readFileSync(file, "utf8");
}

test("spans read back as they were recorded", async (t) => {
  const file = temporaryFile(t);
  await write(file, stepOf(0, 0), stepOf(1, 3));
  const rank = (name: string) => [
    { rank: name, activity: "step", kind: "STEP", start: 0, end: 5 },
    { rank: name, activity: "compute", kind: "ATTN", start: 1, end: 2, layer: 1 },
    { rank: name, activity: "communication", kind: "DISPATCH", start: 3, end: 4, layer: 1 },
  ];
  assert.deepEqual(await readTrace(file), {
    source: "DaySix",
    spans: [...rank("node 0 rank 0"), ...rank("node 1 rank 3")],
    cut: false,
  });
});

test("viewers see a process for each node and three named threads for each rank", async (t) => {
  const batches = [stepOf(0, 0), stepOf(0, 1), stepOf(0, 0)];
  const events = JSON.parse(await write(temporaryFile(t), ...batches)) as {
    ph: string;
    name: string;
    pid: number;
    tid: number;
    args: Record<string, unknown>;
  }[];
  const named = (name: string) =>
    events
      .filter((event) => event.ph === "M" && event.name === name)
      .map(({ pid, tid, args }) => [pid, tid, args["name"]]);
  assert.deepEqual(named("process_name"), [[0, 0, "node 0"]]);
  assert.deepEqual(named("thread_name"), [
    [0, 0, "rank 0 compute"],
    [0, 1, "rank 0 communication"],
    [0, 2, "rank 0 waiting"],
    [0, 3, "rank 1 compute"],
    [0, 4, "rank 1 communication"],
    [0, 5, "rank 1 waiting"],
  ]);
  const dispatch = events.filter(({ name }) => name === "DISPATCH");
  assert.deepEqual(
    dispatch.map(({ tid }) => tid),
    [1, 4, 1],
  );
  assert.deepEqual(dispatch[0].args, { layer: 1, step: 4, rows: 2, microBatch: 1 });
});

test("spans that touch to the nanosecond still do in the file", async (t) => {
  const times = [0.0004, 1.0006, 1.0006, 2.0012];
  const tracer = new SpanRecorder({ node: 0, rank: 0, clock: () => times.shift() ?? 0 });
  tracer.end(tracer.begin("ATTN", 0, 1));
  tracer.end(tracer.begin("MLP", 0, 1));
  const file = temporaryFile(t);
  await write(file, tracer.take());
  const [first, second] = (await readTrace(file)).spans;
  assert.equal(first.end, second.start);
  assert.equal(second.end, 2.001);
});

test("a span without an end is left out", async (t) => {
  const tracer = new SpanRecorder({ node: 0, rank: 0, clock: tickingClock() });
  tracer.begin("ATTN", 0, 1);
  tracer.end(tracer.begin("MLP", 0, 1));
  const file = temporaryFile(t);
  await write(file, tracer.take());
  assert.deepEqual(
    (await readTrace(file)).spans.map(({ kind }) => kind),
    ["MLP"],
  );
});

test("a trace that is not closed yet, as after a kill, can be read", async (t) => {
  const file = temporaryFile(t);
  const writer = await TraceWriter.create(file, 0);
  writer.write(stepOf(0, 0));
  while (readFileSync(file).length === 0) await sleep(1);
  const { spans, cut } = await readTrace(file);
  assert.deepEqual([spans.length, cut], [3, true]);
  await writer.close();
});

test("a trace of nothing is an empty array", async (t) => {
  assert.deepEqual(JSON.parse(await write(temporaryFile(t))), []);
});

test("a file that cannot be written is named", async (t) => {
  const file = `${temporaryFile(t)}/below`;
  await assert.rejects(TraceWriter.create(file, 0), (error: Error) => {
    assert.ok(error instanceof TraceError);
    return error.message.startsWith(`${file}: cannot be written`);
  });
});

test(
  "a disk that fills up is told of at the end, not before",
  { skip: !existsSync("/dev/full") },
  async () => {
    const writer = await TraceWriter.create("/dev/full", 0);
    writer.write(stepOf(0, 0));
    await sleep(20);
    writer.write(stepOf(0, 0));
    await assert.rejects(writer.close(), /^TraceError: \/dev\/full: .*ENOSPC/);
  },
);

test("spans that a slow disk does not take are left out, and told of", async (t) => {
  const file = temporaryFile(t);
  const writer = await TraceWriter.create(file, 0, 1000);
  for (let step = 0; step < 100; step++) writer.write(stepOf(0, 0));
  await assert.rejects(writer.close(), {
    name: "TraceError",
    message: new RegExp(`^${file}: too slow: spans were left out \\d+ times$`),
  });
  const { spans, cut } = await readTrace(file);
  assert.equal(cut, false);
  assert.ok(spans.length > 0 && spans.length < 100, `${spans.length} spans`);
});
