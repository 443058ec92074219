import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { converse, messagesOf, readTurns, writeTurns, type Turn } from "./conversation.ts";

const turn = (change: Partial<Turn>): Turn => ({
  ...{ question: "q", thinking: "", answer: "a", state: "done", note: "" },
  ...change,
});

afterEach(() => mock.restoreAll());

/** Answers the next request with these events; gives what was asked. */
function answering(...chunks: object[]) {
  const asked: { messages: { content: string }[] }[] = [];
  mock.method(globalThis, "fetch", async (_: string, init: RequestInit) => {
    asked.push(JSON.parse(init.body as string) as (typeof asked)[0]);
    return new Response(chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join(""));
  });
  return asked;
}

const says = (delta: object, finish_reason: string | null = null) => ({
  choices: [{ delta, finish_reason }],
});

const usage = { prompt_tokens: 9, prompt_cache_hit_tokens: 0, completion_tokens: 2 };

async function ask(before: readonly Turn[] = [], signal = new AbortController().signal) {
  const turns: Turn[] = [];
  const question = { model: "m", apiKey: "", thinks: true, before, text: "new", signal };
  for await (const grown of converse(question)) turns.push(grown);
  return turns;
}

test("a turn grows, and ends with what it used", async () => {
  answering(
    says({ reasoning_content: "hm" }),
    says({ content: "y" }),
    says({ content: "es" }, "stop"),
    { choices: [], usage },
  );
  const turns = await ask();
  assert.deepEqual(
    turns.map(({ thinking, answer, state }) => [thinking, answer, state]),
    [
      ["", "", "live"],
      ["hm", "", "live"],
      ["hm", "y", "live"],
      ["hm", "yes", "live"],
      ["hm", "yes", "done"],
    ],
  );
  assert.equal(turns.at(-1)?.note, "9 tokens in, 0 cached · 2 out");
});

test("what failed, or said nothing, is not told to the model again", async () => {
  const asked = answering(says({ content: "yes" }, "stop"));
  await ask([
    turn({ question: "first" }),
    turn({ question: "failed", answer: "half", state: "failed" }),
    turn({ question: "stopped", answer: "half", state: "stopped" }),
    turn({ question: "nothing", answer: "", state: "stopped" }),
  ]);
  const said = asked[0].messages.map(({ content }) => content);
  assert.deepEqual(said, ["first", "a", "stopped", "half", "new"]);
  assert.deepEqual(messagesOf([]), []);
});

test("an answer that breaks off, or whose server says why not, has failed", async () => {
  answering(says({ content: "ye" }));
  const broken = (await ask()).at(-1);
  assert.deepEqual([broken?.state, broken?.answer], ["failed", "ye"]);
  answering(says({ content: "ye" }), { error: { message: "rank 3 is lost" } });
  const lost = (await ask()).at(-1);
  assert.deepEqual([lost?.state, lost?.note], ["failed", "rank 3 is lost"]);
});

test("who stops an answer keeps what was said", async () => {
  const stop = new AbortController();
  mock.method(globalThis, "fetch", async () => {
    stop.abort();
    throw stop.signal.reason;
  });
  const last = (await ask([], stop.signal)).at(-1);
  assert.equal(last?.state, "stopped");
});

test("turns are kept as they were, but for one that nobody goes on with", () => {
  const turns = [turn({}), turn({ state: "live", answer: "half" })];
  const [first, second] = readTurns(writeTurns(turns));
  assert.deepEqual(first, turns[0]);
  assert.deepEqual([second.state, second.answer], ["stopped", "half"]);
  for (const other of [null, "", "null", '{"version":0,"turns":[1]}']) {
    assert.deepEqual(readTurns(other), []);
  }
});
