import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { ManualClock } from "../../cluster/fixtures.ts";
import { ClientGone } from "../errors.ts";
import type { CreateMaskChild, MaskListener } from "./mask-child.ts";
import type { MaskReport, MaskStart, MaskTask, OpenTask } from "./mask-messages.ts";
import { MaskTasks } from "./mask-tasks.ts";

const start: MaskStart = {
  vocabulary: {
    ...{ bytes: new Uint8Array(0), offsets: new Int32Array(1), specials: [] },
    ...{ bos: undefined, eos: undefined },
  },
  endTokens: [],
};
const stays = new AbortController().signal;
const opening = (pattern: string): OpenTask => ({
  kind: "open",
  source: { kind: "regex", pattern },
  tokens: [],
});
const following = (token: number) => ({ kind: "follow", grammar: 0, state: 0, token }) as const;
const nameOf = (task: MaskTask) =>
  task.kind === "open" && task.source.kind === "regex" ? task.source.pattern : task.kind;

/** A child that does nothing until the test says so. */
function begin(queueLimit = 9) {
  const clock = new ManualClock();
  const posted: MaskTask[] = [];
  const listeners: MaskListener[] = [];
  const warnings: string[] = [];
  let killed = 0;
  let forgotten = 0;
  const createChild: CreateMaskChild = (_, listener) => {
    listeners.push(listener);
    return { post: (tasks) => posted.push(...tasks), hold() {}, kill: () => killed++ };
  };
  const tasks = new MaskTasks(
    start,
    {
      ...{ createChild, clock, taskLimitMs: 100, queueLimit, queuedCharacters: 1000 },
      log: pino(
        { level: "warn" },
        { write: (line) => void warnings.push(JSON.parse(line).reason) },
      ),
    },
    { learn() {}, forget: () => forgotten++ },
  );
  const place = { state: 0, mask: 0 };
  return {
    ...{ clock, tasks, warnings, listeners },
    /** What the child was given, in its order. */
    names: (): string[] => {
      clock.advance(0);
      return posted.map(nameOf);
    },
    answer: (name: string): void => {
      const { id, kind } = posted.findLast((task) => nameOf(task) === name) as MaskTask;
      const report: MaskReport =
        kind === "follow"
          ? { kind: "place", id, place, steps: [] }
          : { kind: "opened", id, grammar: 0, start: place, place, isFull: false };
      listeners.at(-1)?.report({ reports: [report], masks: [], dropped: [] });
    },
    counts: () => ({ killed, forgotten, children: listeners.length }),
  };
}

test("grammars are opened one at a time, in order of arrival, and who follows does not wait for that", async () => {
  const { tasks, names, answer, clock } = begin();
  const opened = ["a", "b", "c"].map((name) => tasks.open(opening(name), stays));
  const followed = tasks.follow(following(1));
  assert.deepEqual(names(), ["follow", "a"]);
  answer("follow");
  await followed;
  answer("a");
  assert.deepEqual(names(), ["follow", "a", "b"]);
  answer("b");
  assert.deepEqual(names(), ["follow", "a", "b", "c"]);
  answer("c");
  await Promise.all(opened);
  assert.equal(clock.pending, 0);
});

test("an answer under way that is opened anew comes before those who begin, however many wait", async () => {
  const { tasks, names, answer } = begin(1);
  const opened = ["a", "b"].map((name) => tasks.open(opening(name), stays));
  await assert.rejects(tasks.open(opening("c"), stays), { status: 429, code: "queue_full" });
  const again = tasks.open(opening("again"));
  answer(names()[0]);
  answer(names()[1]);
  assert.deepEqual(names(), ["a", "again", "b"]);
  answer("b");
  await Promise.all([...opened, again]);
});

test("whoever leaves is never at work", async () => {
  const { tasks, names, answer } = begin();
  const leaving = new AbortController();
  const first = tasks.open(opening("a"), stays);
  const left = tasks.open(opening("b"), leaving.signal);
  const last = tasks.open(opening("c"), stays);
  leaving.abort();
  await assert.rejects(left, ClientGone);
  assert.deepEqual(names(), ["a"]);
  answer("a");
  assert.deepEqual(names(), ["a", "c"]);
  answer("c");
  await Promise.all([first, last]);
});

test("an opening has its time from when it begins, and fails alone when it takes longer", async () => {
  const { tasks, names, answer, clock, warnings, counts } = begin();
  const [first, slow, next] = ["a", "slow", "next"].map((name) => tasks.open(opening(name), stays));
  names();
  clock.advance(90);
  answer("a");
  await first;
  clock.advance(90);
  assert.deepEqual(counts(), { killed: 0, forgotten: 0, children: 1 });
  const followed = tasks.follow(following(1));
  names();
  const refused = assert.rejects(slow, { status: 400, code: "constraint_too_costly" });
  clock.advance(10);
  await refused;
  assert.equal((await followed).kind, "forgotten");
  assert.deepEqual(names(), ["a", "slow", "follow", "next"]);
  assert.deepEqual(counts(), { killed: 1, forgotten: 1, children: 2 });
  assert.deepEqual(warnings, ["took longer than 100 ms"]);
  answer("next");
  await next;
  assert.equal(clock.pending, 0);
});

test("a child that ends while it follows costs nobody behind it his turn", async () => {
  const { tasks, names, answer, listeners, warnings } = begin();
  const opened = tasks.open(opening("a"), stays);
  const followed = tasks.follow(following(1));
  assert.deepEqual(names(), ["follow", "a"]);
  listeners[0].ended("ended its process (SIGKILL)");
  assert.equal((await followed).kind, "forgotten");
  assert.deepEqual(names(), ["follow", "a", "a"]);
  answer("a");
  assert.equal((await opened).kind, "opened");
  assert.deepEqual(warnings, ["ended its process (SIGKILL)"]);
});

test("what waits when it closes is told so", async () => {
  const { tasks, names, clock } = begin();
  const waiting = ["a", "b"].map((name) => tasks.open(opening(name), stays));
  const refused = waiting.map((each) => assert.rejects(each, { status: 503 }));
  names();
  tasks.close();
  await Promise.all(refused);
  await assert.rejects(tasks.open(opening("c")), { status: 503 });
  await assert.rejects(tasks.follow(following(1)), { status: 503 });
  assert.equal(clock.pending, 0);
});
