import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { greedySampling, nativeProblem, residentWeights } from "../../kernels/index.ts";
import { sparseFixtures, tinyFixtures } from "../../model/fixtures.ts";
import { Engine } from "./client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { answer, emptied, read } from "./fixtures.ts";
import { EngineError } from "../fleet/rank-handle.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");

const start = (change: Partial<EngineOptions> = {}) =>
  Engine.start({
    modelDirectory: fixture.directory,
    policy: "f32",
    kvMemoryBytes: 2 ** 20,
    ...change,
  });

function request(change: Partial<AskedRequest> = {}): AskedRequest {
  return {
    id: "r",
    tenant: "",
    prompt: fixture.tokens,
    choice: 0,
    maxTokens: 8,
    stopTokens: [],
    sampling: greedySampling,
    ...change,
  };
}

const long = request({ maxTokens: 100_000 });

test("the engine's thread gives Hugging Face's greedy tokens and its own figures", async () => {
  const engine = await start();
  const events = await read(engine.generate(request()));
  assert.deepEqual(events[0], { kind: "started", hitTokens: 0 });
  const tokens = events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
  assert.deepEqual(tokens, fixture.greedy.slice(0, 8));
  assert.deepEqual(events.at(-1), { kind: "finished", reason: "length" });
  const { generatedTokens, promptTokens } = await engine.stats();
  assert.deepEqual([generatedTokens, promptTokens], [8, fixture.tokens.length]);
  await engine.close();
});

test(
  "resident weights, which two ranks share, answer as mapped ones do",
  { skip: nativeProblem() ?? false },
  async () => {
    const { bytes: before } = residentWeights();
    const topology = parseTopology("prefill=1x1,decode=1x1");
    const engine = await start({ weights: "resident", topology });
    const { bytes } = residentWeights();
    const file = await stat(join(fixture.directory, "model.safetensors"));
    assert.equal(bytes - before, file.size);
    const events = await read(engine.generate(request()));
    const tokens = events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
    assert.deepEqual(tokens, fixture.greedy.slice(0, 8));
    await engine.close();
    assert.equal(residentWeights().bytes, before, "the copy goes with its ranks");
  },
);

test("leaving the loop and aborting the signal free what the request held", async () => {
  const engine = await start();
  let tokens = 0;
  for await (const event of engine.generate(long))
    if (event.kind === "token" && ++tokens > 3) break;
  await emptied(engine);

  const leave = new AbortController();
  const events: GenerationEvent[] = [];
  for await (const event of engine.generate(long, leave.signal)) {
    if (event.kind !== "resumed") events.push(event);
    if (event.kind === "token") leave.abort();
  }
  assert.equal(events.at(-1)?.kind, "token");
  await emptied(engine);
  assert.deepEqual(await read(engine.generate(long, AbortSignal.abort())), []);
  await engine.close();
});

test("a thousand streams that leave at once leave an engine that answers", async () => {
  const engine = await start();
  const leave = new AbortController();
  const streams = Array.from({ length: 1000 }, () => read(engine.generate(long, leave.signal)));
  const survivor = read(engine.generate(request()));
  await engine.stats();
  leave.abort();
  for (const events of await Promise.all(streams)) {
    assert.ok(events.every(({ kind }) => kind === "started" || kind === "token"));
  }
  const tokens = (await survivor).flatMap((event) => (event.kind === "token" ? [event.token] : []));
  assert.deepEqual(tokens, fixture.greedy.slice(0, 8));
  await emptied(engine);
  await engine.close();
});

test("what is refused is refused as an event, and the engine lives on", async () => {
  const engine = await start();
  const [refused] = await read(engine.generate(request({ prompt: [] })));
  assert.deepEqual(refused, {
    kind: "failed",
    code: "invalid_request",
    message: "prompt: expected at least one token",
  });
  assert.equal((await read(engine.generate(request()))).length, 10);
  await engine.close();
});

test("events are timed when the engine's client hears of them, however late they are read", async () => {
  let clock = 1000;
  const engine = await start({ now: () => clock });
  const events = engine.generate(request({ maxTokens: 2 }));
  const first = await events.next();
  await emptied(engine);
  clock = 9000;
  const times = [first.value?.time];
  for await (const { time } of events) times.push(time);
  const [started, ...tokens] = times;
  assert.deepEqual(tokens, [1000, 1000, 1000]);
  assert.ok(started !== undefined && started <= 1000, "when its step began");
  await engine.close();
});

test("when the only thread dies another goes on with every request, but for one that kills three", async () => {
  const engine = await start();
  const asked = request({ maxTokens: 60 });
  const undisturbed = answer(await read(engine.generate(asked)));
  const live = [asked, asked].map((one) => read(engine.generate(one)));
  // Breaks the contract, which nothing behind the message port survives.
  const breaking = { ...request(), sampling: undefined } as unknown as AskedRequest;
  const last = (await read(engine.generate(breaking))).at(-1);
  assert.ok(last?.kind === "failed" && last.code === "request_failed_thrice");
  for (const events of await Promise.all(live)) assert.deepEqual(answer(events), undisturbed);
  assert.deepEqual(answer(await read(engine.generate(asked))), undisturbed);
  assert.deepEqual(
    engine.units.map(({ unit, state }) => [unit, state]),
    [[3, "serving"]],
  );
  assert.equal(engine.ended, undefined);
  await engine.close();
});

test("a request that kills threads ends with the third, and the fourth unit goes on with all others", async () => {
  const engine = await start({ topology: parseTopology("combined=4x1") });
  const asked = [0, 1, 2, 3, 4].map((i) => request({ maxTokens: 40 + 10 * i }));
  const live = asked.map((one) => read(engine.generate(one)));
  const breaking = { ...request(), sampling: undefined } as unknown as AskedRequest;
  const last = (await read(engine.generate(breaking))).at(-1);
  assert.ok(last?.kind === "failed" && last.code === "request_failed_thrice");
  const answers = (await Promise.all(live)).map(answer);
  for (const [i, events] of answers.entries()) {
    assert.equal(events.length, asked[i].maxTokens + 1);
    assert.deepEqual(events.slice(0, 40), answers[4].slice(0, 40));
  }
  const lost = (await engine.rankStats()).flatMap((stats) => stats.lost ?? []);
  assert.equal(lost.length, 3);
  assert.ok(lost.every((reason) => last.message.includes(reason)));
  assert.equal(engine.ended, undefined);
  await engine.close();
});

test("closing ends what is live and is no accident", async () => {
  const engine = await start();
  const live = read(engine.generate(long));
  await engine.stats();
  // Asked once it is closing: before, a rank may be quicker with its answer.
  const closing = engine.close();
  await assert.rejects(engine.stats(), EngineError);
  await closing;
  const last = (await live).at(-1);
  assert.equal(last?.kind === "failed" && last.code, "engine_ended");
  const fatal = await Promise.race([engine.fatal, Promise.resolve("quiet")]);
  assert.equal(fatal, "quiet");
});

test("an engine that cannot start says what is wrong", async () => {
  const wrong: [Partial<EngineOptions>, RegExp][] = [
    [{ modelDirectory: "/nowhere" }, /nowhere/],
    [{ kvMemoryBytes: 10 }, /kvMemoryBytes: expected at least \d+ for one page, got 10/],
    [{ maxModelLen: 0 }, /maxModelLen: expected a whole number of at least 2, got 0/],
    [
      { maxModelLen: 1e6 },
      /maxModelLen: expected at most 256 tokens \(max_position_embeddings 256\)/,
    ],
    [{ chunkRows: 0 }, /chunkRows: expected a positive whole number, got 0/],
    [{ usableTokens: 0.5 }, /usableTokens: expected a whole number/],
    [
      { fastDecode: true, topology: parseTopology("combined=1x2") },
      /--fast-decode: expected one rank, got combined=1x2/,
    ],
  ];
  for (const [change, message] of wrong) await assert.rejects(start(change), { message });
});

test("a model whose attention would be sparse says by which field its context ends", async () => {
  const [sparse] = sparseFixtures();
  const engine = await start({ modelDirectory: sparse.directory });
  const message =
    /prompt: 72 tokens leave no room in a context of 72 \(index_topk 72, beyond which/;
  assert.equal(engine.maxModelLen, 72);
  const [refused] = await read(engine.generate(request({ prompt: sparse.tokens })));
  assert.ok(refused.kind === "failed");
  assert.match(refused.message, message);
  const events = await read(engine.generate(request({ prompt: sparse.tokens.slice(1) })));
  assert.deepEqual(events.at(-1), { kind: "finished", reason: "length" });
  await engine.close();
});
