import assert from "node:assert/strict";
import { test } from "node:test";
import { startTinyServer } from "../http/fixtures.ts";
import { StatusFeed } from "./status-feed.ts";
import { statusSnapshot } from "./status-snapshot.ts";

/** Lets what is ready happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A feed that numbers its readings, and tells how many were ticks. */
function countingFeed() {
  const made = { readings: 0, ticks: 0 };
  const read = async () => ({ reading: ++made.readings });
  const tick = () => {
    made.ticks++;
    return read();
  };
  return { feed: new StatusFeed({ read, tick }), made };
}

async function nextOf(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  return new TextDecoder().decode((await reader.read()).value);
}

test("all viewers share a reading a second, and none is made when they have left", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { feed, made } = countingFeed();
  t.mock.timers.tick(5000);
  assert.equal(made.readings, 0);

  const viewers = Array.from({ length: 3 }, () => feed.events().getReader());
  for (const viewer of viewers) assert.equal(await nextOf(viewer), 'data: {"reading":1}\n\n');
  t.mock.timers.tick(1000);
  for (const viewer of viewers) assert.equal(await nextOf(viewer), 'data: {"reading":2}\n\n');
  assert.equal(made.readings, 2);

  await Promise.all(viewers.map((viewer) => viewer.cancel()));
  t.mock.timers.tick(5000);
  await settle();
  assert.equal(made.readings, 2);
});

test("a viewer that does not read misses snapshots instead of queueing them", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { feed } = countingFeed();
  const slow = feed.events().getReader();
  await settle();
  for (let second = 0; second < 4; second++) {
    t.mock.timers.tick(1000);
    await settle();
  }
  assert.equal(await nextOf(slow), 'data: {"reading":1}\n\n');
  t.mock.timers.tick(1000);
  assert.equal(await nextOf(slow), 'data: {"reading":6}\n\n');
  feed.close();
  assert.equal((await slow.read()).done, true);
});

test("who asks is no tick for those who watch, and while somebody asks there are ticks", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const { feed, made } = countingFeed();
  await feed.snapshot();
  assert.equal(made.ticks, 1, "rates need a beginning");
  await Promise.all([feed.snapshot(), feed.snapshot()]);
  await feed.snapshot();
  assert.deepEqual(made, { readings: 3, ticks: 1 });
  for (let second = 0; second < 30; second++) {
    t.mock.timers.tick(1000);
    await settle();
  }
  assert.equal(made.ticks, 11);
});

test("a reading that fails ends the streams, and the next viewer tries again", async () => {
  let broken = true;
  const tick = async () => {
    if (broken) throw new Error("no counters");
    return {};
  };
  const feed = new StatusFeed({ read: tick, tick });
  await assert.rejects(feed.events().getReader().read(), /no counters/);
  broken = false;
  assert.equal(await nextOf(feed.events().getReader()), "data: {}\n\n");
  feed.close();
});

test("a server tells its status once and as events, and counts as its usage does", async () => {
  const server = await startTinyServer({ apiKey: "secret" });
  try {
    assert.equal((await fetch(`${server.url}/status`)).status, 401);
    assert.equal((await fetch(`${server.url}/status/events`)).status, 401);
    const headers = { authorization: "Bearer secret" };
    const watching = await fetch(`${server.url}/status/events`, { headers });
    assert.match(watching.headers.get("content-type") ?? "", /^text\/event-stream/);
    const reader = (watching.body as ReadableStream<Uint8Array>).getReader();
    const [, first] = /^data: (.*)\n\n$/.exec(await nextOf(reader)) ?? [];
    assert.equal(statusSnapshot.parse(JSON.parse(first)).units[0].role, "combined");
    await reader.cancel();

    const { usage } = await server.post("/v1/chat/completions", {
      ...{ model: "calf", messages: [{ role: "user", content: "hi" }] },
      ...{ n: 2, seed: 1, max_tokens: 8 },
    });
    const response = await fetch(`${server.url}/status`, { headers });
    const text = await response.text();
    const { tokens, requests } = statusSnapshot.parse(JSON.parse(text));
    assert.deepEqual(tokens, {
      hit: usage.prompt_cache_hit_tokens,
      miss: usage.prompt_cache_miss_tokens,
      output: usage.completion_tokens,
    });
    assert.deepEqual(requests, { waiting: 0, prefill: 0, decode: 0 });
    assert.doesNotMatch(text, /secret/);
  } finally {
    await server.close();
  }
});
