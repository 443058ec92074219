import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import { ApiError } from "../errors.ts";
import { eventStream, wholeAnswer } from "./stream.ts";

const options = {
  framing: "plain" as const,
  keepAliveMs: 10_000,
  describeError: (error: unknown) => (error instanceof ApiError ? error.envelope() : undefined),
  onLeave: () => {},
  unreadMs: 10_000,
  onUnread: () => {},
};
const failure = new ApiError(500, "broken", "the engine broke");

test("a stream ends in [DONE]", async () => {
  const chunks = (async function* () {
    yield { a: 1 };
    yield { a: "é\n" };
  })();
  const response = await eventStream(chunks, options);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  assert.equal(await response.text(), 'data: {"a":1}\n\ndata: {"a":"é\\n"}\n\ndata: [DONE]\n\n');
});

test("a failure before the first chunk has no stream", async () => {
  // oxlint-disable-next-line require-yield
  const chunks = (async function* () {
    throw failure;
  })();
  await assert.rejects(eventStream(chunks, options), failure);
});

test("a failure after the first chunk is an error event, and the last", async () => {
  const chunks = (async function* () {
    yield { a: 1 };
    throw failure;
  })();
  const text = await (await eventStream(chunks, options)).text();
  assert.equal(text, `data: {"a":1}\n\ndata: ${JSON.stringify(failure.envelope())}\n\n`);
});

test("silence is filled with comments", async () => {
  const chunks = (async function* () {
    await sleep(100);
    yield { a: 1 };
  })();
  const response = await eventStream(chunks, { ...options, keepAliveMs: 10 });
  assert.match(
    await response.text(),
    /^(: keep-alive\n\n){2,}data: \{"a":1\}\n\ndata: \[DONE\]\n\n$/,
  );
});

test("chunks are made when the client has room, and leaving is told", async () => {
  let made = 0;
  let left = false;
  const chunks = (async function* () {
    for (; made < 1000; made++) yield { made };
  })();
  const response = await eventStream(chunks, { ...options, onLeave: () => (left = true) });
  const reader = response.body?.getReader();
  await reader?.read();
  await sleep(5);
  assert.ok(made <= 2, `${made} chunks were made for one that was read`);
  await reader?.cancel();
  assert.ok(left);
});

test("a client that does not read is told of after a while, and not one that reads or waits", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let unread = 0;
  let next = () => {};
  const chunks = (async function* () {
    yield { a: 1 };
    await new Promise<void>((resolve) => (next = resolve));
    yield { a: 2 };
  })();
  const response = await eventStream(chunks, {
    ...options,
    keepAliveMs: 100_000,
    unreadMs: 1000,
    onUnread: () => unread++,
  });
  const reader = response.body?.getReader();
  await reader?.read();
  const second = reader?.read();
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(5000);
  assert.equal(unread, 0, "it waits for what is not ready");
  next();
  await second;
  t.mock.timers.tick(999);
  assert.equal(unread, 0);
  t.mock.timers.tick(1);
  assert.equal(unread, 1);
});

test("a whole answer that comes at once is that and nothing more", async () => {
  const response = await wholeAnswer(Promise.resolve({ a: 1 }), options);
  assert.equal(await response.text(), '{"a":1}');
  await assert.rejects(wholeAnswer(Promise.reject(failure), options), failure);
});

/** An answer that is settled once two blank lines have been read; and all that is read. */
async function readLate(settle: { value: object } | { error: Error }): Promise<string> {
  let fulfil: (value: object) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const answer = new Promise<object>((resolve, reject) => ([fulfil, fail] = [resolve, reject]));
  const response = await wholeAnswer(answer, { ...options, keepAliveMs: 1 });
  assert.equal(response.status, 200);
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    if (text !== "\n\n") continue;
    if ("value" in settle) fulfil(settle.value);
    else fail(settle.error);
  }
  return text;
}

test("a whole answer that takes its time comes after blank lines, as does its failure", async () => {
  assert.match(await readLate({ value: { a: 1 } }), /^\n\n+\{"a":1\}$/);
  assert.deepEqual(JSON.parse(await readLate({ error: failure })), failure.envelope());
});

test("an event with a name has its type's", async () => {
  const chunks = (async function* () {
    yield { type: "ping" };
  })();
  const response = await eventStream(chunks, { ...options, framing: "named" });
  assert.equal(await response.text(), 'event: ping\ndata: {"type":"ping"}\n\n');
});
