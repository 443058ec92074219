import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import type { Turn } from "./conversation.ts";
import { LiveAnswer } from "./live-answer.ts";

afterEach(() => mock.restoreAll());

const old: Turn = { question: "old", thinking: "", answer: "x", state: "done", note: "" };
const asked = { model: "m", apiKey: "", thinks: false, before: [old], text: "new" };

/** Answers a word, and no more until it is left. */
function answerNeverEnds(): void {
  const said = { choices: [{ delta: { content: "word" }, finish_reason: null }] };
  mock.method(globalThis, "fetch", async (_: string, { signal }: RequestInit) => {
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(said)}\n\n`));
        signal?.addEventListener("abort", () => controller.error(signal.reason));
      },
    });
    return new Response(body);
  });
}

/** An answer that has said its word. */
function begin() {
  answerNeverEnds();
  const told: (readonly Turn[])[] = [];
  const live: boolean[] = [];
  let word = () => {};
  const hasWord = new Promise<void>((resolve) => (word = resolve));
  const answer = new LiveAnswer(
    (turns) => {
      told.push(turns);
      if (turns.at(-1)?.answer === "word") word();
    },
    (isLive) => live.push(isLive),
  );
  return { answer, told, live, hasWord, over: answer.ask(asked) };
}

test("a new chat stays empty, whatever the answer before it still says", async () => {
  const { answer, told, live, hasWord, over } = begin();
  await hasWord;
  answer.forget();
  await over;
  assert.deepEqual(told.at(-1), []);
  const again = answer.ask({ ...asked, before: [] });
  assert.equal(live.at(-1), true, "it can be asked at once");
  answer.forget();
  await again;
  assert.deepEqual([told.at(-1), live.at(-1)], [[], false]);
});

test("an answer that is stopped stays as far as it came", async () => {
  const { answer, told, live, hasWord, over } = begin();
  await hasWord;
  answer.stop();
  await over;
  const [before, turn] = told.at(-1) as Turn[];
  assert.deepEqual([before, turn.answer, turn.state], [old, "word", "stopped"]);
  assert.equal(live.at(-1), false);
});
