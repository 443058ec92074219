import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineDriver } from "../engine-driver.ts";
import { viewDriver, type ClusterView } from "../status/index.ts";
import { startTinyServer } from "./fixtures.ts";
import { startScriptedServer } from "./scripted-fixtures.ts";

const chat = {
  model: "calf",
  messages: [{ role: "user", content: "hi" }],
  seed: 1,
  temperature: 1,
};
const CHAT = "/v1/chat/completions";

test("a server is ready while some unit serves, and lives in any case", async () => {
  let state: "serving" | "lost" = "lost";
  const cluster: ClusterView = {
    ...viewDriver({} as EngineDriver),
    units: () => [{ unit: 4, role: "combined", state }],
  };
  const server = await startScriptedServer({ cluster });
  try {
    const ask = async (path: string) => {
      const response = await fetch(server.url + path);
      return [response.status, ((await response.json()) as { status?: string }).status];
    };
    assert.deepEqual(await ask("/readyz"), [503, "no_unit"]);
    assert.deepEqual(await ask("/health"), [200, "ok"]);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.match(metrics, /^daysix_units\{model_name="calf",role="combined",state="lost"\} 1$/m);
    state = "serving";
    assert.deepEqual(await ask("/readyz"), [200, "ok"]);
  } finally {
    await server.close();
  }
});

test("a full queue answers 429 and when to come again", async () => {
  const server = await startTinyServer({ queueLimit: 2 });
  try {
    const response = await server.fetch(CHAT, { ...chat, n: 3 });
    assert.equal(response.status, 429);
    assert.match(response.headers.get("retry-after") ?? "", /^\d+$/);
    assert.equal((await server.fetch(CHAT, { ...chat, n: 2, max_tokens: 1 })).status, 200);
  } finally {
    await server.close();
  }
});

test("without the key only health and the API's description are answered", async () => {
  const server = await startTinyServer({ apiKey: "secret" });
  try {
    const status = async (path: string, authorization?: string) => {
      const headers = authorization === undefined ? {} : { authorization };
      return (await fetch(server.url + path, { headers })).status;
    };
    assert.equal(await status("/health"), 200);
    assert.equal(await status("/openapi.json"), 200);
    assert.equal(await status("/metrics"), 401);
    assert.equal(await status("/v1/models"), 401);
    assert.equal(await status("/v1/models", "Bearer secre"), 401);
    assert.equal(await status("/v1/models", "Basic secret"), 401);
    assert.equal(await status("/v1/models", "bearer secret"), 200);
  } finally {
    await server.close();
  }
});

test("while a client waits for its first token its stream is kept alive", async () => {
  const server = await startTinyServer({ keepAliveMs: 1 });
  try {
    const text = await (
      await server.fetch(CHAT, { ...chat, n: 4, max_tokens: 8, stream: true })
    ).text();
    assert.match(text, /^: keep-alive\n\n/);
    assert.match(text, /data: \[DONE\]\n\n$/);
  } finally {
    await server.close();
  }
});

test("a drain lets live streams finish, refuses new requests, then closes", async () => {
  const server = await startTinyServer();
  const live = await server.fetch(CHAT, { ...chat, max_tokens: 100, stream: true });
  const drained = server.running.drain(30_000);
  const refused = await server.fetch(CHAT, chat);
  assert.equal(refused.status, 503);
  const health = await fetch(`${server.url}/health`);
  assert.equal(((await health.json()) as { status: string }).status, "draining");
  for (const response of [refused, health]) {
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("connection"), "close");
    assert.match(response.headers.get("retry-after") ?? "", /^\d+$/);
  }
  assert.equal((await fetch(`${server.url}/livez`)).status, 200);
  assert.match(await live.text(), /"finish_reason":"(stop|length)"[^]*data: \[DONE\]\n\n$/);
  await drained;
  await assert.rejects(fetch(`${server.url}/health`));
  await server.engine.close();
});

test("a drain's deadline ends live streams with an error event", async () => {
  const server = await startTinyServer();
  const live = await server.fetch(CHAT, { ...chat, n: 8, max_tokens: 200, stream: true });
  const drained = server.running.drain(1);
  assert.match(await live.text(), /data: \{"error":\{.*"code":"shutting_down"\}\}\n\n$/);
  await drained;
  await server.untilIdle();
  await server.engine.close();
});

test("an engine that is gone is a 503 before the first byte and an error event after it", async () => {
  const server = await startTinyServer();
  try {
    const live = await server.fetch(CHAT, { ...chat, n: 8, max_tokens: 200, stream: true });
    await server.engine.close();
    assert.match(await live.text(), /data: \{"error":\{.*"type":"server_error".*\}\}\n\n$/);
    for (const stream of [true, false]) {
      assert.equal((await server.fetch(CHAT, { ...chat, stream })).status, 503);
    }
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    assert.match(
      await (await fetch(`${server.url}/metrics`)).text(),
      /^daysix_engine_up\{model_name=".+"\} 0$/m,
    );
  } finally {
    await server.running.close();
  }
});

test("metrics count requests, tokens and pages", async () => {
  const server = await startTinyServer();
  try {
    const usages = [];
    for (let i = 0; i < 2; i++) {
      const content = "the same long beginning ".repeat(8);
      const body = { ...chat, messages: [{ role: "user", content }], max_tokens: 4 };
      usages.push((await server.post(CHAT, body)).usage);
    }
    assert.equal(usages[0].prompt_cache_hit_tokens, 0);
    const hit = usages[1].prompt_cache_hit_tokens;
    assert.ok(hit > 0 && hit % 64 === 0 && hit < usages[1].prompt_tokens);
    await server.fetch("/v2", {});
    await sleep(1);
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const value = (name: string) => {
      const lines = text.split("\n").filter((each) => each.startsWith(name));
      return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    };
    assert.equal(value('daysix_requests_total{route="/v1/chat/completions",status="200"}'), 2);
    assert.equal(value('daysix_requests_total{route="unknown",status="404"}'), 1);
    assert.equal(value("vllm:prompt_tokens_total{"), 2 * usages[0].prompt_tokens);
    assert.equal(value("vllm:prefix_cache_hits_total{"), hit);
    assert.equal(
      value("vllm:generation_tokens_total{"),
      usages[0].completion_tokens + usages[1].completion_tokens,
    );
    assert.equal(value("vllm:time_to_first_token_seconds_count"), 2);
    assert.equal(value("vllm:num_requests_running{"), 0);
    assert.equal(value("vllm:kv_cache_usage_perc{"), 0);
    assert.equal(value("vllm:e2e_request_latency_seconds_count"), 2);
    assert.equal(value("vllm:request_queue_time_seconds_count"), 2);
    assert.ok(value("daysix_generated_tokens_total{") >= 2);
    assert.equal(value("daysix_rank_up{"), 1);
  } finally {
    await server.close();
  }
});
