import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { Accounts } from "../billing/accounts.ts";
import { defaultPrices } from "../billing/deepseek-prices.ts";
import { startTinyServer } from "./fixtures.ts";
import { at, openFakeLedger } from "../billing/ledger-fixtures.ts";
import type { RequestRecord } from "../billing/ledger-record.ts";
import { Ledger } from "../billing/ledger.ts";
import { charge, totalOf } from "../billing/money.ts";
import { readLedger } from "../billing/read-ledger.ts";
import { reportOn } from "../billing/report.ts";
import { health, type Usage } from "../wire.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const messages = [{ role: "user", content: "the same long beginning ".repeat(8) }];
const chat = { model: "calf", messages, seed: 1, temperature: 1, max_tokens: 12 };
const streamed = { stream: true, stream_options: { include_usage: true } };

const directory = await mkdtemp(join(tmpdir(), "daysix-bills-"));
after(() => rm(directory, { recursive: true }));

const accountsOn = (ledger: Ledger) =>
  new Accounts({ ledger, prices: defaultPrices, now: () => at("12:00:00") });

/** A server that bills in a file, and what the file says once all is written. */
async function startBillingServer(name: string) {
  const path = join(directory, name);
  const accounts = accountsOn(await Ledger.open(path));
  const server = await startTinyServer({ accounts });
  const settle = async () => {
    await server.untilIdle();
    await accounts.close();
    await server.close();
    const records: RequestRecord[] = [];
    for await (const line of readLedger(path)) {
      assert.ok(line.kind === "record" && line.record.kind === "request");
      records.push(line.record);
    }
    return records;
  };
  return { server, path, settle };
}

/** The id and the usage a client is told, streamed or whole. */
async function toldBy(response: Response): Promise<{ id: string; usage: Usage }> {
  const text = await response.text();
  assert.equal(response.status, 200, text);
  if (!text.startsWith("data:")) return JSON.parse(text) as { id: string; usage: Usage };
  const chunks = text.match(/^data: \{.*$/gm) ?? [];
  return JSON.parse((chunks.at(-1) ?? "").slice("data: ".length)) as { id: string; usage: Usage };
}

const asBilled = (usage: Usage) => ({
  hit: usage.prompt_cache_hit_tokens,
  miss: usage.prompt_cache_miss_tokens,
  output: usage.completion_tokens,
  reasoning: usage.completion_tokens_details.reasoning_tokens,
});

test("the ledger says of each request what its client was told, and adds up", async () => {
  const { server, settle } = await startBillingServer("told.jsonl");
  const reasoner = { ...chat, model: "deepseek-reasoner" };
  const requests: [path: string, body: object][] = [
    [CHAT, chat],
    [CHAT, { ...chat, ...streamed }],
    [CHAT, { ...chat, ...streamed, n: 3, logprobs: true, top_logprobs: 2 }],
    [CHAT, { ...chat, n: 2, stop: ["e", "a"], max_tokens: 60 }],
    [CHAT, { ...reasoner, ...streamed, n: 2 }],
    [COMPLETIONS, { ...chat, prompt: ["Once", "Once upon a time ".repeat(9)], n: 2, logprobs: 1 }],
    [COMPLETIONS, { ...chat, ...streamed, prompt: [[1, 2, 3], [4, 5], [6]] }],
    [CHAT, { ...chat, max_tokens: 1 }],
  ];
  const told = await Promise.all(
    requests.map(async ([path, body]) => toldBy(await server.fetch(path, body))),
  );
  // Once more, now that the prompts are in the cache.
  for (const [path, body] of requests) told.push(await toldBy(await server.fetch(path, body)));
  const refused = await server.fetch(CHAT, { ...chat, temperature: 9 });
  assert.equal(refused.status, 400);

  const records = await settle();
  assert.equal(records.length, told.length);
  for (const { id, usage } of told) {
    const record = records.find((each) => each.id === id);
    assert.deepEqual(record?.tokens, asBilled(usage));
    assert.equal(record?.outcome, "complete");
    assert.equal(record?.finishReasons.includes(null), false);
    assert.ok(record?.billing.kind === "billed");
    const { price, picodollars } = record.billing;
    assert.deepEqual(picodollars, charge(record.tokens, price.rates));
  }

  const report = await reportOn(records, {
    acceleratorHour: 0n,
    prices: defaultPrices,
    priceModel: "calf",
  });
  const sum = (of: (usage: Usage) => number) =>
    told.reduce((total, { usage }) => total + of(usage), 0);
  assert.equal(
    report.inputTokens,
    sum((usage) => usage.prompt_tokens),
  );
  assert.equal(
    report.hitTokens,
    sum((usage) => usage.prompt_cache_hit_tokens),
  );
  assert.equal(
    report.outputTokens,
    sum((usage) => usage.completion_tokens),
  );
  assert.ok(report.hitTokens > 0 && report.reasoningTokens > 0);
  const tokens = { hit: report.hitTokens, miss: report.inputTokens - report.hitTokens };
  const { rates } = defaultPrices.priceAt("calf", at("12:00:00"));
  assert.equal(
    report.billedIncome,
    totalOf(charge({ ...tokens, output: report.outputTokens }, rates)),
  );
  assert.equal(report.billedIncome, report.theoreticalIncome);
});

test("a client that hangs up on a stream pays for the prompt once and what came until then", async () => {
  const { server, settle } = await startBillingServer("hang-up.jsonl");
  const prompt = "Once upon a time";
  const { count } = await server.post("/tokenize", { prompt });
  const body = { ...chat, prompt, n: 2, logprobs: 0, max_tokens: 600, logit_bias: { 0: -100 } };
  const leaving = new AbortController();
  const response = await fetch(server.url + COMPLETIONS, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
    signal: leaving.signal,
  });
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    if (text.split("data: ").length > 20) break;
  }
  leaving.abort();
  await server.untilIdle();
  const { generatedTokens } = await server.engine.stats();
  const [record, ...others] = await settle();
  assert.equal(others.length, 0);
  assert.equal(record.outcome, "left");
  assert.deepEqual(record.finishReasons, [null, null]);
  assert.equal(record.tokens.hit + record.tokens.miss, count);
  const told = (text.match(/"tokens":\["/g) ?? []).length;
  assert.ok(told > 10, `${told} chunks with tokens`);
  assert.ok(record.tokens.output >= told, `${record.tokens.output} billed, ${told} told`);
  assert.ok(record.tokens.output <= generatedTokens);
  assert.equal(record.billing.kind, "billed");
});

test("who hangs up before a whole answer is counted and pays nothing", async () => {
  const { server, settle } = await startBillingServer("untold.jsonl");
  const leaving = new AbortController();
  const answer = fetch(server.url + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...chat, n: 8, max_tokens: 400 }),
    signal: leaving.signal,
  });
  while ((await server.engine.stats()).generatedTokens < 8) await sleep(2);
  leaving.abort();
  await assert.rejects(answer);
  const [record, ...others] = await settle();
  assert.equal(others.length, 0);
  assert.equal(record.outcome, "left");
  assert.deepEqual(record.billing, { kind: "unbilled", reason: "untold" });
});

test("a drain's deadline is nobody's debt", async () => {
  const { server, settle } = await startBillingServer("drained.jsonl");
  const live = await server.fetch(CHAT, { ...chat, n: 8, max_tokens: 400, stream: true });
  while ((await server.engine.stats()).generatedTokens < 8) await sleep(2);
  await server.running.drain(1);
  assert.match(await live.text(), /"code":"shutting_down"/);
  const [record] = await settle();
  assert.deepEqual(record.billing, { kind: "unbilled", reason: "failed" });
});

test("the last word of an answer waits until its bill is on the disk", async () => {
  const { ledger, disk } = await openFakeLedger();
  const server = await startTinyServer({ accounts: accountsOn(ledger) });
  try {
    for (const body of [{ ...chat, stream: true }, chat]) {
      let release = () => {};
      const released = new Promise<void>((resolve) => (release = resolve));
      const reached = new Promise<void>((resolve) => {
        disk.before = async (call) => {
          if (call !== "sync") return;
          resolve();
          await released;
        };
      });
      let text = "";
      const finished = (async () => {
        const response = await server.fetch(CHAT, body);
        for await (const bytes of response.body ?? []) text += Buffer.from(bytes).toString();
      })();
      await reached;
      await sleep(50);
      assert.doesNotMatch(text, /"finish_reason":"|\[DONE\]/);
      release();
      await finished;
      assert.match(text, /"finish_reason":"(stop|length)"/);
    }
  } finally {
    await server.close();
  }
});

test("a disk that hangs holds an answer no longer than its client stays, or the server", async () => {
  const { ledger, disk } = await openFakeLedger();
  const server = await startTinyServer({ accounts: accountsOn(ledger), keepAliveMs: 20 });
  const inside = async () => {
    const { running, waiting } = health.parse(await (await fetch(`${server.url}/health`)).json());
    return running + waiting;
  };
  let answer = () => {};
  const answers = new Promise<void>((resolve) => (answer = resolve));
  const asked = new Promise<void>((resolve) => {
    disk.before = () => {
      resolve();
      return answers;
    };
  });
  const leaving = new AbortController();
  const left = fetch(server.url + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(chat),
    signal: leaving.signal,
  }).then((response) => response.text());
  const stays = await server.fetch(CHAT, { ...chat, stream: true });
  try {
    await asked;
    await server.untilIdle();
    assert.equal(await inside(), 2);
    leaving.abort();
    await assert.rejects(left);
    while ((await inside()) > 1) await sleep(2);
    await server.running.drain(1);
    await assert.rejects(stays.text(), /terminated/);
  } finally {
    answer();
    await server.close();
  }
});

test("a full disk ends the request in an error that the operator reads, and closes the door", async () => {
  const lines: string[] = [];
  const log = pino({ level: "error" }, { write: (line) => void lines.push(line) });
  const ledger = await Ledger.open("/dev/full");
  const server = await startTinyServer({
    accounts: new Accounts({ ledger, prices: defaultPrices, log }),
  });
  try {
    const text = await (await server.fetch(CHAT, { ...chat, stream: true })).text();
    assert.match(text, /data: \{"error":\{.*"code":"ledger_unwritable"\}\}\n\n$/);
    assert.doesNotMatch(text, /"finish_reason":"/);
    assert.match(lines.join(""), /ENOSPC.*"not billed"/);
    await server.untilIdle();
    const { generatedTokens } = await server.engine.stats();
    const next = await server.fetch(CHAT, chat);
    assert.equal(next.status, 503);
    assert.match(await next.text(), /"code":"ledger_unwritable"/);
    assert.equal((await server.engine.stats()).generatedTokens, generatedTokens);
  } finally {
    await server.close();
  }
});

test("a line says who asked and how much came, and none of the words", async () => {
  const { server, path, settle } = await startBillingServer("line.jsonl");
  await server.post(CHAT, { ...chat, model: "deepseek-reasoner" });
  const [record] = await settle();
  assert.equal(record.model, "deepseek-reasoner");
  assert.match(record.requestId, /^req-/);
  assert.equal(record.timing.sequences, 1);
  assert.ok(record.kvTokensRead > record.tokens.miss * record.tokens.output);
  assert.doesNotMatch(await readFile(path, "utf8"), /beginning/);
});
