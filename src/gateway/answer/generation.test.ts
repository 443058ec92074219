import assert from "node:assert/strict";
import { test } from "node:test";
import type { GenerationEvent } from "../../engine/index.ts";
import { Admission, Load } from "../admission.ts";
import type { EngineDriver } from "../engine-driver.ts";
import type { GenerationEnd } from "../billing/index.ts";
import { Generation } from "./generation.ts";
import { Latencies } from "../status/latencies.ts";
import { Metrics } from "../telemetry/metrics.ts";

type Said = GenerationEvent | { readonly kind: "resumed"; readonly recomputedTokens: number };

const token: Said = { kind: "token", token: 7, top: [], proposed: false, refuted: 0 };
const beginning: Said[] = [{ kind: "started", hitTokens: 0 }, token, token];

/** One choice whose engine says these events, and how the generation says it has ended. */
function generationOf(events: readonly Said[], onEnd = async () => {}) {
  const ends: GenerationEnd[] = [];
  const client = new AbortController();
  const metrics = new Metrics([]);
  const engine: EngineDriver = {
    maxModelLen: 100,
    vocabSize: 10,
    eosTokens: [],
    async *generate() {
      for (const [index, event] of events.entries()) yield { ...event, time: 10 * index };
    },
    stats: () => Promise.reject(new Error("no statistics")),
  };
  const generation = new Generation({
    engine,
    ticket: new Admission(10).admit(1, client.signal, new Load()),
    times: metrics.times("m", 0),
    latencies: new Latencies(),
    now: () => 0,
    ...{ id: "one", tenant: "default", prompts: [Uint32Array.of(1, 2, 3)], choicesPerPrompt: 1 },
    ...{ maxTokens: undefined, eosTokens: [], topLogprobs: undefined },
    stop: { tokens: [], strings: [], told: false, afterFirstCall: false },
    sampling: {
      ...{ temperature: 0, topP: 1, topK: 0, minP: 0, seed: 1, logitBias: {} },
      ...{ presencePenalty: 0, frequencyPenalty: 0, repetitionPenalty: 1 },
    },
    ...{ unreadEvents: 100, onUnread: () => undefined },
    createReader: () => ({
      reasoningTokens: 0,
      undecided: false,
      push: () => [{ kind: "content", text: "a" }],
      end: () => [],
    }),
    constraints: [],
    onEnd: (end) => {
      ends.push(end);
      return onEnd();
    },
  });
  const summary = () =>
    ends.map(({ outcome, finishReasons, usage }) => ({
      ...{ outcome, finishReasons: [...finishReasons] },
      tokens: [usage.prompt_tokens, usage.completion_tokens],
    }));
  return { generation, client, summary, ends, metrics };
}

async function readAll(generation: Generation): Promise<void> {
  for await (const event of generation.events()) assert.equal(event.choice, 0);
}

test("what ranks compute again after a loss is on the house's account, and told to nobody", async () => {
  const { generation, ends, metrics } = generationOf([
    ...beginning,
    { kind: "resumed", recomputedTokens: 5 },
    token,
    { kind: "finished", reason: "length" },
  ]);
  await readAll(generation);
  const [{ usage, reading }] = ends;
  assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [3, 3]);
  assert.deepEqual([reading.resumed, reading.recomputedTokens], [1, 5]);
  assert.deepEqual(metrics.resumedOf(["m"]), { requests: 1, recomputedTokens: 5 });
});

test("an answer that is complete has ended once, with its reason and its tokens", async () => {
  const { generation, client, summary } = generationOf([
    ...beginning,
    { kind: "finished", reason: "length" },
  ]);
  await readAll(generation);
  client.abort();
  assert.deepEqual(summary(), [{ outcome: "complete", finishReasons: ["length"], tokens: [3, 2] }]);
});

test("a client that leaves while nobody reads is told of with what came until then", async () => {
  for (const leave of ["cancel", "abort"] as const) {
    const { generation, client, summary } = generationOf([...beginning, token, token]);
    const events = generation.events();
    await events.next();
    if (leave === "cancel") generation.cancel();
    else client.abort();
    const [{ outcome, finishReasons, tokens }, ...others] = summary();
    assert.deepEqual([outcome, finishReasons, others], ["left", [null], []]);
    assert.equal(tokens[0], 3);
    assert.ok(tokens[1] >= 1 && tokens[1] < 4, `${tokens[1]} tokens`);
  }
});

test("an engine that fails or falls silent has not been left by the client", async () => {
  for (const last of [[{ kind: "failed", code: "broken", message: "it broke" } as const], []]) {
    const { generation, summary } = generationOf([...beginning, ...last]);
    await assert.rejects(readAll(generation), { name: "ApiError" });
    assert.deepEqual(summary(), [{ outcome: "failed", finishReasons: [null], tokens: [3, 2] }]);
  }
});

test("an answer whose end cannot be told is never finished", async () => {
  const { generation } = generationOf([...beginning, { kind: "finished", reason: "stop" }], () =>
    Promise.reject(new Error("no ledger")),
  );
  const kinds: string[] = [];
  await assert.rejects(async () => {
    for await (const event of generation.events()) kinds.push(event.kind);
  }, /no ledger/);
  assert.deepEqual(kinds, ["delta", "delta"]);
});

test("times are those of the events, however slowly they are taken", async () => {
  const { generation, ends } = generationOf([
    ...beginning,
    token,
    { kind: "finished", reason: "stop" },
  ]);
  for await (const event of generation.events()) {
    if (event.kind === "delta") await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { sequences, firstTokenMs, decodeMs } = ends[0].reading;
  assert.deepEqual([sequences, firstTokenMs, decodeMs], [1, 10, 20]);
});
