import assert from "node:assert/strict";
import { test } from "node:test";
import { adviceFor, type Machine } from "./machine.ts";

const speed = (threads: number, readGBs: number, peak: number) => ({
  ...{ threads, readGBs },
  peaks: { int8: 4 * peak, bf16: peak, f32: peak },
  instructions: { int8: "VNNI", bf16: "FP32 FMA", f32: "FP32 FMA" },
});

const sound: Machine = {
  platform: "linux x64, Node v20.0.0",
  processor: "a processor",
  instructionSet: "avx512",
  instructionSets: ["avx512", "avx2", "portable"],
  nativeProblem: null,
  cores: 8,
  usableCores: 8,
  numaNodes: 1,
  hugePages: "madvise",
  mapsHugePages: true,
  memoryBytes: 64e9,
  availableBytes: 60e9,
  load: 0.2,
  speeds: [speed(1, 15, 200), speed(8, 90, 1500)],
};

const cases: readonly [string, Partial<Machine>, RegExp][] = [
  [
    "no addon",
    { nativeProblem: "they are not built", instructionSet: "reference", instructionSets: [] },
    /reference kernels.*they are not built/,
  ],
  ["a lower instruction set", { instructionSet: "avx2" }, /DAYSIX_ISA.*avx2.*avx512/],
  ["no vectors", { instructionSet: "portable", instructionSets: ["portable"] }, /vector/],
  ["a quota", { usableCores: 3 }, /quota leaves 3 of 8/],
  ["NUMA", { numaNodes: 2 }, /2 NUMA nodes.*numactl/],
  ["no huge pages", { hugePages: "never" }, /huge pages are off/],
  ["small pages of files", { mapsHugePages: false }, /small pages.*--packed-dir.*resident/],
  ["load", { load: 5 }, /5\.0 of 8 cores/],
  [
    "hyper-threads",
    {
      speeds: [speed(1, 15, 200), speed(8, 90, 800)],
    },
    /8 threads multiply only 4\.0 times/,
  ],
];

test("a sound machine needs no advice", () => assert.deepEqual(adviceFor(sound), []));

test("a machine without native kernels or a second core is not compared with itself", () => {
  assert.deepEqual(
    adviceFor({ ...sound, cores: 1, usableCores: 1, speeds: [sound.speeds[0]] }),
    [],
  );
});

for (const [what, change, expected] of cases) {
  test(`advice on ${what}`, () => {
    const advice = adviceFor({ ...sound, ...change });
    assert.equal(advice.length, 1, advice.join("\n"));
    assert.match(advice[0], expected);
  });
}
