import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, suite, test } from "node:test";
import { startTinyServer, type TinyServer } from "../../gateway/http/fixtures.ts";
import { reportOf, runLoad } from "./load.ts";
import { traceLoad, uniformLoad } from "./load-requests.ts";
import { firstModel } from "../../gateway/http/api-client.ts";

suite("a tiny server under load", () => {
  let server: TinyServer;
  before(async () => {
    server = await startTinyServer({ apiKey: "key" });
  });
  after(() => server.close());

  test("every request is answered and counted", async () => {
    const access = { url: server.url, apiKey: "key" };
    const report = await runLoad({
      ...{ ...access, model: await firstModel(access), concurrency: 3 },
      requests: uniformLoad({ requests: 5, promptTokens: 6, maxTokens: 4 }),
    });
    assert.deepEqual(report.errors, {});
    assert.equal(report.answered, 5);
    assert.ok(report.promptTokens >= 5 * 6);
    assert.ok(report.completionTokens > 0 && report.completionTokens <= 5 * 4);
    const { timeToFirstToken, wholeAnswer } = report;
    assert.ok(timeToFirstToken && wholeAnswer && timeToFirstToken.p50 <= wholeAnswer.p99);
  });

  test("a trace's requests are sent at its times", async () => {
    const trace = [0, 150].map((at) => ({
      ...{ at: 7000 + at, blocks: [1], promptTokens: 5, answerTokens: 2 },
    }));
    const report = await runLoad({
      ...{ url: server.url, apiKey: "key", model: "calf", concurrency: 1 },
      requests: traceLoad(trace, {}),
    });
    assert.deepEqual(report.errors, {});
    assert.equal(report.answered, 2);
    assert.ok(report.seconds >= 0.15);
  });

  test("what a server refuses is told by its message", async () => {
    const report = await runLoad({
      ...{ url: server.url, apiKey: "wrong", model: "calf", concurrency: 2 },
      requests: uniformLoad({ requests: 3, promptTokens: 2, maxTokens: 1 }),
    });
    assert.equal(report.answered, 0);
    assert.equal(report.timeToFirstToken, null);
    const [[message, count]] = Object.entries(report.errors);
    assert.match(message, / answers 401: invalid API key/);
    assert.equal(count, 3);
  });
});

test("a server that counts no tokens has its chunks counted", async () => {
  const said = ["a", "", "b"].map((content, i) => {
    const choice = { delta: { content }, finish_reason: i === 2 ? "length" : null };
    return `data: ${JSON.stringify({ choices: [choice] })}\r\n\r\n`;
  });
  const server = createServer((_, response) =>
    response.end(`${said.join("")}data: [DONE]\r\n\r\n`),
  );
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  try {
    const report = await runLoad({
      ...{ url: `http://127.0.0.1:${port}`, model: "any", concurrency: 1 },
      requests: [{ prompt: "x", maxTokens: 5, seed: 1 }],
    });
    assert.equal(report.completionTokens, 2);
  } finally {
    server.close();
  }
});

test("prompts of a trace begin alike where their blocks do", () => {
  const request = (blocks: number[]) => ({ at: 5, blocks, promptTokens: 600, answerTokens: 9 });
  const [a, b, c] = traceLoad([request([1, 2]), request([1, 3]), request([4, 2])], {
    maxTokens: 3,
  }).map(({ prompt, at, maxTokens }) => ({ words: prompt.split(" "), at, maxTokens }));
  assert.deepEqual([a.words.length, a.at, a.maxTokens], [600, 0, 3]);
  assert.deepEqual(a.words.slice(0, 512), b.words.slice(0, 512));
  assert.notDeepEqual(a.words.slice(512), b.words.slice(512));
  assert.notDeepEqual(a.words.slice(0, 8), c.words.slice(0, 8));
});

test("a report tells rates and percentiles of what was answered", () => {
  const answer = (firstMs: number, lastMs: number, completionTokens: number) => ({
    ...{ promptTokens: 10, completionTokens, firstMs, lastMs },
  });
  const report = reportOf(3, [answer(10, 110, 11), answer(30, 30, 1)], { no: 1 }, 2);
  assert.equal(report.completionTokensPerSecond, 6);
  assert.equal(report.requestsPerSecond, 1);
  assert.equal(report.timeToFirstToken?.p50, 20);
  assert.deepEqual(report.timePerOutputToken, { p50: 10, p90: 10, p99: 10 });
});
