import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runBenchKernels } from "./bench-kernels.ts";
import { runBenchModel } from "./bench-model.ts";
import { runBenchServe } from "./bench-serve.ts";
import { runLadder } from "./ladder.ts";

const model = {
  ...{ shape: "v3", topology: "combined=1x1", experts: "parallel", policy: "w8a16" },
  ...{ format: "fp8", weights: "mapped", prompt: "512", batch: "1,8", context: 512 },
};
const ladder = { ...model, requests: 1, prompt: 1, answer: 1 };
const serve = { url: "http://127.0.0.1:9" };

type Flags = Readonly<Record<string, unknown>>;

const cases: readonly [(flags: Flags) => Promise<void>, Flags, RegExp][] = [
  [runBenchModel, { ...model, shape: "v4" }, /^--shape: expected v3, .*got v4$/],
  // A layer with experts has to be among those from which the rest is extrapolated.
  [runBenchModel, { ...model, layers: 3 }, /^--layers: expected a number from 4 to 61/],
  [runBenchModel, { ...model, topology: "prefill=1x1,decode=1x1" }, /^--topology: expected comb/],
  [runBenchModel, { ...model, topology: "combined" }, /^--topology/],
  [runBenchModel, { ...model, threads: 0 }, /^--threads: expected/],
  [runBenchModel, { ...model, batch: "1,x" }, /^--batch: expected a number.*got x$/],
  [runBenchModel, { ...model, context: 200_000 }, /^--context: expected .* to 163840/],
  [runBenchModel, { ...model, policy: "w4" }, /^--policy: expected/],
  [runBenchModel, { ...model, format: "fp4" }, /^--format: expected fp8, int8, .*got fp4$/],
  [runBenchModel, { ...model, weights: "huge" }, /^--weights: expected mapped or resident, got h/],
  [runBenchModel, { ...model, experts: "some" }, /^--experts: expected parallel or replicated/],
  [runLadder, { ...ladder, shape: "v4" }, /^--shape: expected v3, .*got v4$/],
  [runLadder, { ...ladder, layers: 3 }, /^--layers: expected a number from 4 to 61/],
  [runLadder, { ...ladder, layers: 4, format: "fp4" }, /^--format: expected .*got fp4$/],
  [runBenchKernels, { policy: "w8a16", threads: 1e6 }, /^--threads: expected/],
  [runBenchServe, { ...serve, requests: 0 }, /^--requests: expected/],
  [runBenchServe, { ...serve, promptTokens: "many" }, /^--prompt-tokens: expected/],
  [runBenchServe, { ...serve, trace: "/nowhere" }, /^--trace: .*nowhere/],
  [runBenchServe, { ...serve, trace: "/nowhere", concurrency: 2 }, /^--concurrency: a trace/],
  [runBenchServe, serve, /^--url: http:\/\/127.0.0.1:9 does not answer/],
];

for (const [run, flags, message] of cases) {
  test(`${run.name} refuses: ${message.source}`, async () => {
    await assert.rejects(run(flags), { name: "UsageError", message });
  });
}

test("benches are commands of two words", () => {
  const main = fileURLToPath(new URL("./main.js", import.meta.url));
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });
  const wrong = run("bench", "model", "--shape", "v4");
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /^daysix: --shape: expected/);
  assert.match(run("bench", "model", "--help").stdout, /--context <tokens>/);
  assert.match(run("bench").stderr, /unknown command bench; expected bench kernels, bench model/);
});
