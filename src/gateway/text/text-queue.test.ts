import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ManualClock } from "../../cluster/fixtures.ts";
import { ClientGone } from "../errors.ts";
import type { TextReport, TextTask } from "./messages.ts";
import type { CreateTextProcess, TextProcessListener } from "./text-process.ts";
import { TextWorker } from "./text-worker.ts";

const format = {
  vocabulary: { bytes: new Uint8Array(0), offsets: new Int32Array(1), specials: [] },
  toolCallFormat: undefined,
} as unknown as Extract<TextReport, { kind: "ready" }>["format"];

const text = (words: string) => ({ kind: "raw", texts: [words], begins: true, limit: 9 }) as const;
const words = (task: TextTask) => (task.kind === "raw" ? task.texts[0] : "");
const stays = new AbortController().signal;

/** Processes that do nothing until the test says so. */
class FakeProcesses {
  readonly created: TextProcessListener[] = [];
  readonly posted: string[] = [];
  terminated = 0;
  startsWell = true;
  /** As those that wait for a mount that is dead. */
  areStuck = false;

  readonly create: CreateTextProcess = (listener) => {
    this.created.push(listener);
    const first: TextReport = this.startsWell
      ? { kind: "ready", format }
      : { kind: "refused", message: "tokenizer.json: is gone" };
    if (!this.areStuck) setImmediate(() => listener.report(first));
    return {
      post: (task) => this.posted.push(words(task)),
      terminate: async () => {
        this.terminated++;
        if (this.areStuck) await new Promise(() => {});
      },
    };
  };

  answer(): void {
    this.created.at(-1)?.report({ kind: "prompts", prompts: [Uint32Array.of(1)] });
  }
}

async function startFake(options: { queueLimit?: number; queuedCharacters?: number } = {}) {
  const processes = new FakeProcesses();
  const clock = new ManualClock();
  const limits = { taskLimitMs: 100, startLimitMs: 1000 };
  const fake = { createProcess: processes.create, clock, ...limits, ...options };
  return { processes, clock, worker: await TextWorker.start("nowhere", fake) };
}

test("one text is at work at a time, in order of arrival", async () => {
  const { processes, worker } = await startFake();
  const tasks = ["a", "b", "c"].map((each) => worker.perform(text(each), stays));
  for (const [done, task] of tasks.entries()) {
    assert.deepEqual(processes.posted, ["a", "b", "c"].slice(0, done + 1));
    processes.answer();
    await task;
  }
  await worker.close();
});

test("whoever leaves the queue is never at work", async () => {
  const { processes, worker } = await startFake();
  const leaving = new AbortController();
  const first = worker.perform(text("a"), stays);
  const left = worker.perform(text("b"), leaving.signal);
  const last = worker.perform(text("c"), stays);
  leaving.abort();
  await assert.rejects(left, ClientGone);
  processes.answer();
  processes.answer();
  await Promise.all([first, last]);
  assert.deepEqual(processes.posted, ["a", "c"]);
  await worker.close();
});

test("a text over its time is refused alone, on a process that is replaced", async () => {
  const { processes, clock, worker } = await startFake();
  const slow = worker.perform(text("slow"), stays);
  const next = worker.perform(text("next"), stays);
  const refused = assert.rejects(slow, { status: 400, code: "text_too_costly" });
  clock.advance(99);
  assert.equal(processes.terminated, 0);
  clock.advance(1);
  await refused;
  while (processes.posted.length < 2) await nextTurn();
  assert.equal(processes.terminated, 1);
  assert.equal(processes.created.length, 2);
  processes.answer();
  await next;
  assert.equal(clock.pending, 0);
  await worker.close();
});

test("a process that dies takes one text along, and one that cannot start again says why", async () => {
  const { processes, worker } = await startFake();
  const first = worker.perform(text("a"), stays);
  const second = worker.perform(text("b"), stays);
  processes.startsWell = false;
  processes.created[0].ended("needed more than 7 MiB");
  await assert.rejects(first, { status: 400, message: /text needed more than 7 MiB/ });
  await assert.rejects(second, { status: 503, message: "tokenizer.json: is gone" });
  processes.startsWell = true;
  const third = worker.perform(text("c"), stays);
  while (!processes.posted.includes("c")) await nextTurn();
  processes.answer();
  await third;
  await worker.close();
});

test("a process that neither speaks nor ends is given up in time, and texts are refused until one starts", async () => {
  const { processes, clock, worker } = await startFake();
  const first = worker.perform(text("a"), stays);
  const second = worker.perform(text("b"), stays);
  const told = [
    assert.rejects(first, { status: 400, code: "text_too_costly" }),
    assert.rejects(second, {
      ...{ status: 503, code: "text_worker_failed" },
      message: "the text worker took longer than 1000 ms",
    }),
  ];
  processes.areStuck = true;
  // The text's own time, that of its process to end, that of the next to speak, and that of the next to end.
  for (const milliseconds of [100, 2000, 1000, 2000]) {
    clock.advance(milliseconds);
    await nextTurn();
  }
  await Promise.all(told);
  assert.deepEqual([processes.created.length, processes.terminated], [2, 2]);
  assert.equal(clock.pending, 0);
  processes.areStuck = false;
  const third = worker.perform(text("c"), stays);
  while (!processes.posted.includes("c")) await nextTurn();
  processes.answer();
  await third;
  await worker.close();
});

test("the queue is bounded in texts and in characters, and a lone text always has a place", async () => {
  const { processes, worker } = await startFake({ queueLimit: 3, queuedCharacters: 10 });
  const full = { status: 429, code: "queue_full" };
  const tasks = ["a".repeat(50), "b".repeat(50)].map((each) => worker.perform(text(each), stays));
  await assert.rejects(worker.perform(text("c"), stays), full);
  processes.answer();
  tasks.push(...["d", "e", "f"].map((each) => worker.perform(text(each), stays)));
  await assert.rejects(worker.perform(text("g"), stays), full);
  for (let answers = 0; answers < 4; answers++) processes.answer();
  await Promise.all(tasks);
  await worker.close();
});

test("what waits when the worker closes is told so", async () => {
  const { worker } = await startFake();
  const tasks = ["a", "b"].map((each) => worker.perform(text(each), stays));
  const refused = tasks.map((task) => assert.rejects(task, { status: 503 }));
  await worker.close();
  await Promise.all(refused);
  await assert.rejects(worker.perform(text("c"), stays), { status: 503 });
});
