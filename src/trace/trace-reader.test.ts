import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { profilerTrace, temporaryFile } from "./fixtures.ts";
import { TraceError } from "./trace-error.ts";
import { readTrace } from "./trace-reader.ts";

async function read(t: TestContext, content: string | Buffer) {
  const file = temporaryFile(t);
  writeFileSync(file, content);
  return readTrace(file);
}

test("a profiler's GPU work is sorted into computation and communication by its kernels", async (t) => {
  const { source, spans, cut } = await read(t, profilerTrace());
  assert.deepEqual([source, cut], ["PyTorch profiler", false]);
  const rank = "GPU 0";
  assert.deepEqual(spans, [
    { rank, activity: "compute", kind: "attn(F)", start: 100, end: 200 },
    { rank, activity: "communication", kind: "DISPATCH", start: 150, end: 300 },
    { rank, activity: "compute", kind: "mlp(B)", start: 250, end: 400 },
    { rank, activity: "compute", kind: "flash_fwd_splitkv_combine_kernel", start: 400, end: 410 },
    {
      ...{ rank, activity: "communication", start: 420, end: 450 },
      kind: "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
    },
    { rank, activity: "compute", kind: "gpu_memset", start: 450, end: 455 },
  ]);
});

test("kernels are told apart by their function, not by a word in their type", async (t) => {
  const activities: [string, string, string][] = [
    ["void deep_ep::internode_ll::combine<true, 7168>(void*, int)", "communication", "COMBINE"],
    ["void dpsk::ep::internode::cached_notify<false>(int)", "communication", "cached_notify"],
    ["dispatch_ll(int4*)", "communication", "DISPATCH"],
    ["ncclKernel_SendRecv", "communication", "ncclKernel_SendRecv"],
    ["void at::native::f<at::dispatch<int>>(int)", "compute", "f"],
    ["void (anonymous namespace)::softmax<float>(float*)", "compute", "softmax"],
    ["void sweep::kernel(dispatch)", "compute", "kernel"],
  ];
  const events = activities.map(([name]) => ({
    ...{ ph: "X", cat: "kernel", name, pid: 3, tid: 7, ts: 1, dur: 1 },
  }));
  const { spans } = await read(t, JSON.stringify(events));
  assert.deepEqual(
    spans.map(({ activity, kind }, i) => [activities[i][0], activity, kind]),
    activities,
  );
});

test("work is called after the innermost annotation that is open when it is launched", async (t) => {
  const annotations: [string, number, number][] = [
    ["whole", 0, 100],
    ["early", 10, 20],
    ["late", 40, 30],
    ["inside", 45, 10],
  ];
  const expected: [number, string][] = [
    [0, "whole"],
    [10, "early"],
    [29, "early"],
    [30, "whole"],
    [44, "late"],
    [45, "inside"],
    [55, "late"],
    [70, "whole"],
    [100, "k"],
  ];
  const event = (cat: string, name: string, ts: number, dur: number, correlation: number) => ({
    ...{ ph: "X", cat, name, pid: 0, tid: 0, ts, dur, args: { correlation } },
  });
  const { spans } = await read(
    t,
    JSON.stringify([
      ...annotations.map(([name, ts, dur]) => event("user_annotation", name, ts, dur, -1)),
      ...expected.map(([ts], i) => event("cuda_driver", "cuLaunchKernelEx", ts, 1, i)),
      ...expected.map((_, i) => event("kernel", "k", 200 + i, 1, i)),
    ]),
  );
  assert.deepEqual(
    spans.map(({ kind }, i) => [expected[i][0], kind]),
    expected,
  );
});

test("gzip is unpacked, whatever the file is called", async (t) => {
  const [packed, plain] = [
    await read(t, gzipSync(profilerTrace())),
    await read(t, profilerTrace()),
  ];
  assert.deepEqual(packed, plain);
});

test("a trace that was cut is read up to its last whole event, packed or not", async (t) => {
  const whole = (await read(t, profilerTrace())).spans.length;
  const text = profilerTrace();
  const at = text.indexOf("ncclDevKernel");
  const plain = await read(t, text.slice(0, at));
  assert.deepEqual([plain.spans.length, plain.cut], [4, true]);
  // A file without its last brackets has lost no event.
  const almost = await read(t, text.slice(0, text.lastIndexOf("]")));
  assert.deepEqual([almost.spans.length, almost.cut], [whole, true]);
  const bytes = gzipSync(text, { level: 0 });
  const packed = await read(t, bytes.subarray(0, at));
  assert.deepEqual([packed.spans.length, packed.cut], [4, true]);
});

test("a file that is no trace is named, and so is what is wrong with it", async (t) => {
  const damaged = gzipSync("x".repeat(1000));
  damaged.fill(0xff, 10);
  const wrong: [string | Buffer, RegExp][] = [
    ["", /no trace events before the file's end$/],
    ["[", /no trace events before the file's end$/],
    ["[]", /no trace events$/],
    ['{"model_type":"deepseek_v3"}', /no trace events$/],
    ["# DaySix", /not JSON of trace events \(unexpected byte at 0\)$/],
    [damaged, /damaged gzip/],
    [
      JSON.stringify([
        { ph: "X", cat: "cpu_op", name: "aten::sum", pid: 1, tid: 1, ts: 1, dur: 1 },
      ]),
      /none of the 1 events is a span of DaySix or GPU work of the PyTorch profiler$/,
    ],
  ];
  const file = temporaryFile(t);
  const refused = (message: RegExp) => (error: Error) => {
    assert.ok(error instanceof TraceError && error.message.startsWith(`${file}: `), error.message);
    assert.match(error.message, message);
    return true;
  };
  await assert.rejects(readTrace(file), refused(/no such file$/));
  for (const [content, message] of wrong) {
    writeFileSync(file, content);
    await assert.rejects(readTrace(file), refused(message));
  }
});

test("a folder is not a file", async (t) => {
  const folder = temporaryFile(t);
  mkdirSync(folder);
  await assert.rejects(readTrace(folder), /trace\.json: .*directory/);
});
