import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { Clock } from "./tracer.ts";

/** A path in a folder that is gone after the test. */
export function temporaryFile(t: TestContext, name = "trace.json"): string {
  const folder = mkdtempSync(join(tmpdir(), "daysix-trace-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, name);
}

/** A clock on which every look takes a microsecond. */
export function tickingClock(): Clock {
  let now = 0;
  return () => now++;
}

/**
 * A trace in the shape of DeepSeek's profile-data (PyTorch profiler, one GPU of several, a
 * computing stream 7 and a communicating stream 27), with names made up after real ones.
 */
export function profilerTrace(): string {
  const host = { pid: 1166, tid: 1166 };
  const annotation = (name: string, ts: number, dur: number) =>
    ({ ph: "X", cat: "user_annotation", name, ...host, ts, dur, args: { "Ev Idx": 3 } }) as const;
  const launch = (correlation: number, ts: number, thread = 1166) => ({
    ...{ ph: "X", cat: "cuda_runtime", name: "cudaLaunchKernel", pid: 1166, tid: thread },
    ...{ ts, dur: 2, args: { "External id": correlation, cbid: 211, correlation } },
  });
  const work = (name: string, tid: number, ts: number, dur: number, correlation: number) => ({
    ...{ ph: "X", cat: "kernel", name, pid: 0, tid, ts, dur },
    args: { device: 0, stream: tid, correlation, grid: [4096, 1, 1], block: [128, 1, 1] },
  });
  const name = (pid: number, tid: number, of: string) =>
    ({ name: "thread_name", ph: "M", ts: 0, pid, tid, args: { name: of } }) as const;
  return JSON.stringify(
    {
      schemaVersion: 1,
      deviceProperties: [{ id: 0, name: "NVIDIA H800", sizes: [[1], { deep: ["traceEvents"] }] }],
      distributedInfo: { backend: "nccl", rank: 0, world_size: 64 },
      traceEvents: [
        { ph: "X", cat: "cpu_op", name: 'aten::sum "[{\\', ...host, ts: 5, dur: 90 },
        work("void flash::fwd_kernel<Traits<192>, true>(Params)", 7, 100, 100, 1),
        work("void dpsk::ep::internode::dispatch<false, 8>(int4*, float*)", 27, 150, 150, 2),
        work("void cutlass::device_kernel<Gemm<{lambda(int)#1}> >(Params)", 7, 250, 150, 3),
        work("void flash::flash_fwd_splitkv_combine_kernel<64>(Params)", 7, 400, 10, 4),
        work("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(Arguments)", 27, 420, 30, 5),
        { ...work("Memset (Device)", 7, 450, 5, 6), cat: "gpu_memset" },
        annotation("step", 0, 80),
        annotation("attn(F)", 10, 20),
        annotation("mlp(B)", 40, 20),
        launch(1, 12),
        { ph: "s", id: 1, ...host, ts: 12, cat: "ac2g", name: "ac2g" },
        { ph: "f", id: 1, pid: 0, tid: 7, ts: 100, cat: "ac2g", name: "ac2g", bp: "e" },
        launch(3, 45, 2571),
        launch(4, 90),
        name(0, 7, "stream 7 "),
        name(0, 27, "stream 27 "),
        { ph: "i", s: "g", name: "Record Window End", pid: "", tid: "", ts: 500 },
      ],
      traceName: "traces/traceEvents.json",
    },
    null,
    2,
  );
}
