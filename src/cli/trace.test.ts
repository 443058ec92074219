import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fixtureDirectory } from "../model/fixtures.ts";
import { profilerTrace, temporaryFile } from "../trace/fixtures.ts";
import { NO_LAYER, SpanRecorder, TraceWriter, type SpanName } from "../trace/index.ts";

const program = fileURLToPath(new URL("./main.js", import.meta.url));
const model = fixtureDirectory("tiny/v3") ?? "";

/** Runs `daysix`. */
function daysix(...parts: string[]) {
  return new Promise<{ status: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [program, ...parts], (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

test("generate --trace writes a trace of each step, which trace reads", async (t) => {
  const file = temporaryFile(t);
  const options = ["--model", model, "--tokens", "1,2,3", "--max-tokens", "4", "--json"];
  const traced = await daysix("generate", ...options, "--trace", file);
  assert.equal(traced.status, 0, traced.stderr);
  const { tokens } = JSON.parse(traced.stdout) as { tokens: number[] };
  const { stdout } = await daysix("trace", file, "--json");
  const { source, cut, steps, ranks, layers } = JSON.parse(stdout);
  assert.deepEqual([source, cut, steps, ranks.length], ["DaySix", false, tokens.length, 1]);
  assert.ok(ranks[0].compute > 0 && ranks[0].compute + ranks[0].idle <= ranks[0].window + 1);
  for (const { kinds } of layers) assert.equal(kinds[0].spans, tokens.length);
});

test("tables say where the time went and what was exposed", async (t) => {
  const file = temporaryFile(t);
  writeFileSync(file, profilerTrace());
  const { stdout } = await daysix("trace", file);
  assert.equal(
    stdout,
    `${file}: PyTorch profiler, spans: 6

ms     window  compute  communication  covered   share  exposed   idle
GPU 0   0.355    0.265          0.180    0.100  55.6 %    0.080  0.010

ms                                                track  spans  total   mean  exposed
mlp(B)                                          compute      1  0.150  0.150
DISPATCH                                  communication      1  0.150  0.150    0.050
attn(F)                                         compute      1  0.100  0.100
ncclDevKernel_AllReduce_Sum_bf16_RING_LL  communication      1  0.030  0.030    0.030
flash_fwd_splitkv_combine_kernel                compute      1  0.010  0.010
gpu_memset                                      compute      1  0.005  0.005
`,
  );
});

test("idle time is told by what was waited for", async (t) => {
  const file = temporaryFile(t);
  let now = 0;
  const recorder = new SpanRecorder({ node: 0, rank: 0, clock: () => now });
  const spend = (name: SpanName, milliseconds: number) => {
    const span = recorder.begin(name, NO_LAYER, 1);
    now += 1000 * milliseconds;
    recorder.end(span);
  };
  spend("REQUESTS", 5);
  spend("UNIT", 0.25);
  const step = recorder.beginStep(0, 1);
  spend("HEAD", 2);
  now += 500;
  spend("MASK", 1);
  recorder.end(step);
  const writer = await TraceWriter.create(file, 0);
  writer.write(recorder.take());
  await writer.close();
  const { stdout } = await daysix("trace", file);
  assert.equal(
    stdout.split("\n\n")[2],
    `ms idle, waiting for  requests  other ranks   mask   else
node 0 rank 0            5.000        0.250  1.000  0.500`,
  );
});

test("a trace that was cut is shown, and said to be cut", async (t) => {
  const file = temporaryFile(t);
  writeFileSync(file, profilerTrace().slice(0, -50));
  const { status, stdout } = await daysix("trace", file);
  assert.deepEqual(
    [status, stdout.split("\n")[1]],
    [0, "The file was cut: what follows is of its whole events."],
  );
});

test("a file that is no trace is one line on stderr", async (t) => {
  const file = temporaryFile(t);
  writeFileSync(file, "{}");
  const { status, stdout, stderr } = await daysix("trace", file);
  assert.deepEqual([status, stdout, stderr], [1, "", `daysix: ${file}: no trace events\n`]);
});
