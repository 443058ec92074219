import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { temporaryFile } from "../trace/fixtures.ts";
import { readTrace } from "../trace/index.ts";

const program = fileURLToPath(new URL("./main.js", import.meta.url));
const docs = (file: string) => readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");

/** Runs `daysix dualpipe`. */
function dualpipe(...options: string[]) {
  return new Promise<{ status: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [program, "dualpipe", ...options], (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

for (const { name, options } of [
  { name: "dualpipe", options: ["--stages", "8", "--micro-batches", "20"] },
  { name: "dualpipe-v", options: ["--stages", "8", "--micro-batches", "10", "--v"] },
]) {
  test(`${name}: docs/ shows what the command prints and draws`, async (t) => {
    const svg = temporaryFile(t, "picture.svg");
    const { status, stdout, stderr } = await dualpipe(...options, "--svg", svg);
    assert.equal(status, 0, stderr);
    assert.equal(readFileSync(svg, "utf8"), docs(`${name}.svg`));
    assert.ok(docs("dualpipe.md").includes(stdout.trimEnd()), stdout);
  });
}

test("names in the picture stand where their steps begin, however wide they are", async () => {
  const { stdout } = await dualpipe("--stages", "2", "--micro-batches", "204", "--json");
  const { schedule, makespan, bubbles } = JSON.parse(stdout);
  assert.deepEqual([schedule.length, makespan, bubbles], [2, 612, [0, 0]]);
  const text = await dualpipe("--stages", "2", "--micro-batches", "204");
  const line = text.stdout.split("\n").find((each) => each.startsWith("rank 1"));
  for (const { tasks, start } of schedule[1]) {
    const [{ kind, direction, microBatch }] = tasks;
    const letter = direction === 1 ? kind.toLowerCase() : kind;
    const place = "rank 1  ".length + start * "F101 ".length;
    assert.ok(
      line?.startsWith(`${letter}${microBatch}`, place),
      `${kind}${microBatch} at ${start}`,
    );
  }
});

test("--trace runs the schedule, draws the run below it and writes a trace of it", async (t) => {
  const [file, svg] = [temporaryFile(t), temporaryFile(t, "picture.svg")];
  const options = ["--stages", "4", "--micro-batches", "4", "--v", "--svg", svg, "--json"];
  const { status, stdout, stderr } = await dualpipe(...options, "--trace", file);
  assert.equal(status, 0, stderr);
  const { schedule, executed } = JSON.parse(stdout) as Record<string, { tasks: unknown }[][]>;
  const tasksOf = (timeline: { tasks: unknown }[][]) =>
    timeline.map((steps) => steps.map(({ tasks }) => tasks));
  assert.deepEqual(tasksOf(executed), tasksOf(schedule));
  assert.equal(readFileSync(svg, "utf8").split(">as run<").length, 3);
  const { spans } = await readTrace(file);
  const kinds = new Set(spans.map(({ kind }) => kind));
  assert.deepEqual([...kinds].sort(), ["B", "F", "I", "PP", "STEP", "W"]);
});

test("sizes without a schedule and a file that cannot be written are refused by name", async () => {
  const refused = async (message: RegExp, ...options: string[]) => {
    const { status, stdout, stderr } = await dualpipe(...options);
    assert.deepEqual([status, stdout], [2, ""]);
    assert.match(stderr, message);
  };
  await refused(/--stages: DualPipe needs an even number from 2 on, got 7/, "--stages", "7");
  await refused(/--micro-batches: .* from 16 on, .* got 14/, "--micro-batches", "14");
  await refused(/--micro-batches: .* got 9/, "--stages", "10", "--micro-batches", "9", "--v");
  await refused(/--stages: expected a number from 2 to 256, got many/, "--stages", "many");
  await refused(/--svg: \/ cannot be written/, "--svg", "/");
  const large = ["--stages", "34", "--micro-batches", "68"];
  await refused(/--trace: .* at most 32, got 34 ranks/, ...large, "--trace", "unwritten.json");
});
