import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

let server: TinyServer;
before(async () => (server = await startTinyServer({ apiKey: "sk-secret" })));
after(() => server.close());

const prompt = Array.from({ length: 130 }, (_, i) => i % 50);
const hitsOf = async (change: object) => {
  const body = { model: "calf", prompt, max_tokens: 1, ...change };
  return (await server.post("/v1/completions", body)).usage.prompt_cache_hit_tokens as number;
};

test("a salt keeps a request's prefixes from all that have another or none", async () => {
  const hits = [];
  for (const cache_salt of [null, null, "a", "a", "b", null])
    hits.push(await hitsOf({ cache_salt }));
  assert.deepEqual(hits, [0, 128, 0, 128, 0, 128]);
});

test("a salt is bounded, in chats too", async () => {
  for (const cache_salt of ["", "s".repeat(257)]) {
    const chat = { model: "calf", messages: [{ role: "user", content: "Hi" }], cache_salt };
    const refused = await server.fetch("/v1/chat/completions", chat);
    const { error } = (await refused.json()) as { error: { param: string } };
    assert.deepEqual([refused.status, error.param], [400, "cache_salt"]);
  }
});
