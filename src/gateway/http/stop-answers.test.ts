import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

let server: TinyServer;
before(async () => (server = await startTinyServer()));
after(() => server.close());

const COMPLETIONS = "/v1/completions";

async function streamed(body: object): Promise<{ text: string; finish: string | null }> {
  const response = await server.fetch(COMPLETIONS, { ...body, stream: true });
  let text = "";
  let finish: string | null = null;
  for (const line of (await response.text()).split("\n\n")) {
    if (!line.startsWith("data: {")) continue;
    const [choice] = JSON.parse(line.slice(6)).choices;
    text += choice.text;
    finish = choice.finish_reason;
  }
  return { text, finish };
}

test("any part of an answer, made a stop string, ends the answer where it first stands", async () => {
  for (let seed = 0; seed < 8; seed++) {
    const body = { model: "calf", prompt: "a", max_tokens: 40, temperature: 1, seed };
    const [{ text: whole }] = (await server.post(COMPLETIONS, body)).choices;
    for (const [start, length] of [
      [0, 1],
      [3, 2],
      [10, 5],
      [17, 9],
    ]) {
      const stop = Array.from(whole as string)
        .slice(start, start + length)
        .join("");
      if (stop === "") continue;
      const expected = whole.slice(0, whole.indexOf(stop));
      const asked = { ...body, stop };
      const [choice] = (await server.post(COMPLETIONS, asked)).choices;
      assert.deepEqual([choice.text, choice.finish_reason], [expected, "stop"]);
      assert.deepEqual(await streamed(asked), { text: expected, finish: "stop" });
    }
  }
  await server.untilIdle();
});

test("a stop string ends the work, not only the answer", async () => {
  const body = { model: "calf", prompt: "a", temperature: 1, seed: 1 };
  const [{ text }] = (await server.post(COMPLETIONS, { ...body, max_tokens: 8 })).choices;
  const earlier = (await server.engine.stats()).generatedTokens;
  const { usage } = await server.post(COMPLETIONS, { ...body, stop: text[0] });
  await server.untilIdle();
  const generated = (await server.engine.stats()).generatedTokens - earlier;
  assert.ok(usage.completion_tokens <= 2, `${usage.completion_tokens} tokens were billed`);
  assert.ok(generated < 20, `${generated} tokens were generated for one character`);
});
