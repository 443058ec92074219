import assert from "node:assert/strict";
import { test } from "node:test";
import { startTinyServer } from "./fixtures.ts";

const cat = {
  ...{ type: "object", additionalProperties: false, required: ["kind", "name", "age"] },
  properties: {
    kind: { enum: ["cat", "dog"] },
    name: { type: "string", pattern: "^[ab]{2,4}$" },
    age: { type: "integer", minimum: 10, maximum: 12 },
  },
};
const asked = {
  ...{ model: "calf", max_tokens: 500, logprobs: true, top_logprobs: 2 },
  messages: [{ role: "user", content: "hello" }],
  guided_json: { type: "array", items: cat, minItems: 5, maxItems: 5 },
};

/** Answers, and how many of their tokens had been computed ahead. */
async function answers(speculate: boolean) {
  const server = await startTinyServer({}, undefined, { speculate });
  const said: unknown[] = [];
  let accepted = 0;
  try {
    for (const sampling of [
      { temperature: 0 },
      { temperature: 1, seed: 7 },
      { top_p: 0.9, seed: 8 },
    ]) {
      const { choices, usage } = await server.post("/v1/chat/completions", {
        ...asked,
        ...sampling,
      });
      const [{ finish_reason, message }] = choices;
      assert.equal(finish_reason, "stop");
      assert.equal(JSON.parse(message.content).length, 5);
      said.push(choices);
      accepted += usage.completion_tokens_details.accepted_prediction_tokens;
    }
  } finally {
    await server.close();
  }
  return { said, accepted };
}

test("answers under a schema are the same to the bit, whether tokens are computed ahead or not", async () => {
  const plain = await answers(false);
  const speculated = await answers(true);
  assert.deepEqual(speculated.said, plain.said);
  assert.equal(plain.accepted, 0);
  assert.ok(speculated.accepted > 0);
});
