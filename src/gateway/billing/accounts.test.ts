import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { pino } from "pino";
import { Accounts, type EndedRequest } from "./accounts.ts";
import { defaultPrices } from "./deepseek-prices.ts";
import { at, oneNode, openFakeLedger } from "./ledger-fixtures.ts";
import { Meter } from "./meter.ts";
import { PriceBook } from "./price-book.ts";

/** A request of 100 prompt tokens, 64 of them hits, that generated `output` tokens. */
function ended(output: number, parts: Partial<EndedRequest> = {}): EndedRequest {
  const meter = new Meter([100]);
  const sequence = meter.sequence(0);
  sequence.started(64);
  for (let i = 0; i < output; i++) sequence.token();
  return {
    ...{ id: "chatcmpl-1", requestId: "req-1", tenant: "default", model: "calf" },
    ...{ streamed: true, outcome: "complete", finishReasons: ["stop"] },
    reading: {
      ...{ ...meter.read(), sequences: 1, firstTokenMs: 0, decodeMs: output - 1 },
      ...{ resumed: 0, recomputedTokens: 0 },
    },
    usage: {
      prompt_tokens: 100,
      completion_tokens: output,
      total_tokens: 100 + output,
      prompt_cache_hit_tokens: 64,
      prompt_cache_miss_tokens: 36,
      prompt_tokens_details: { cached_tokens: 64 },
      completion_tokens_details: {
        ...{ reasoning_tokens: 3, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
      },
    },
    ...parts,
  };
}

async function open(prices = defaultPrices) {
  const clock = { now: at("12:00:00") };
  const { ledger, file } = await openFakeLedger();
  const accounts = new Accounts({ ledger, prices, now: () => clock.now });
  return { accounts, ledger, file, clock };
}

test("what was computed again after a loss is in the bill's line, and not in its price", async () => {
  const { accounts, file } = await open();
  const { reading } = ended(10);
  const price = await accounts.bill(ended(10));
  const again = { ...reading, resumed: 2, recomputedTokens: 207 };
  assert.equal(await accounts.bill(ended(10, { reading: again })), price);
  const [quiet, disturbed] = file.lines;
  assert.deepEqual(disturbed, { ...quiet, resumed: { times: 2, recomputedTokens: 207 } });
  assert.ok(!("resumed" in quiet));
});

test("a request is priced when it is completed, and the bill says how", async () => {
  const { accounts, file, clock } = await open();
  await accounts.bill(ended(10));
  clock.now = at("16:30:00");
  await accounts.bill(ended(10));
  const [day, night] = file.lines;
  assert.deepEqual(day.tokens, { hit: 64, miss: 36, output: 10, reasoning: 3 });
  assert.deepEqual(day.billing, {
    kind: "billed",
    price: {
      name: "DeepSeek-R1",
      from: "2025-02-26T16:30:00.000Z",
      window: null,
      rates: { hit: "0.14", miss: "0.55", output: "2.19" },
    },
    picodollars: { hit: "8960000", miss: "19800000", output: "21900000" },
  });
  assert.equal(night.time, "2025-02-27T16:30:00.000Z");
  assert.equal(night.billing.price.window, "off-peak");
  assert.equal(night.billing.picodollars.output, "5500000");
});

test("a client that leaves pays for what it was told, and nobody pays for an error", async () => {
  const { accounts, file } = await open();
  await accounts.bill(ended(5, { outcome: "left" }));
  await accounts.bill(ended(5, { outcome: "left", streamed: false }));
  await accounts.bill(ended(5, { outcome: "failed" }));
  await accounts.bill(ended(5, { streamed: false }));
  assert.deepEqual(
    file.lines.map(({ billing }) => billing.reason ?? billing.kind),
    ["billed", "untold", "failed", "billed"],
  );
});

test("a request of which nothing was computed leaves no line", async () => {
  const { accounts, file } = await open();
  await accounts.bill(ended(0, { outcome: "left" }));
  assert.equal(file.content, "");
});

test("unbilled traffic is counted and costs nothing", async () => {
  const entry = { name: "any", from: "2025-01-01T00:00:00Z", hit: "1", miss: "1", output: "1" };
  const unbilled = { tenants: ["staff"], models: ["demo"] };
  const { accounts, file } = await open(PriceBook.parse({ prices: [entry], unbilled }));
  await accounts.bill(ended(5, { tenant: "staff" }));
  await accounts.bill(ended(5, { model: "demo" }));
  assert.deepEqual(
    file.lines.map(({ billing, tokens }) => [billing, tokens.output]),
    [
      [{ kind: "unbilled", reason: "tenant" }, 5],
      [{ kind: "unbilled", reason: "model" }, 5],
    ],
  );
});

test("while bills cannot be written nobody is let in, and a sign of life finds out when they can", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  try {
    const { accounts, ledger, file, clock } = await open();
    await accounts.setTopology(oneNode);
    accounts.assertWritable();
    file.room = 10;
    const unwritable = { status: 503, code: "ledger_unwritable" };
    await assert.rejects(accounts.bill(ended(5)), unwritable);
    assert.throws(() => accounts.assertWritable(), unwritable);
    file.room = undefined;
    clock.now = at("12:01:00");
    mock.timers.tick(60_000);
    while (ledger.problem !== undefined) await setImmediate();
    accounts.assertWritable();
    assert.deepEqual(
      file.lines.map(({ event, time }) => [event, time.slice(11, 16)]),
      [
        ["start", "12:00"],
        ["alive", "12:01"],
      ],
    );
    await accounts.close();
  } finally {
    mock.timers.reset();
  }
});

test("the log says once what keeps bills from the ledger, and once that they can be written again", async () => {
  const { ledger, file } = await openFakeLedger();
  const said: [level: number, message: string, error?: string][] = [];
  const write = (line: string) => {
    const { level, msg, err } = JSON.parse(line);
    if (msg !== "not billed") said.push([level, msg, err?.message]);
  };
  const accounts = new Accounts({ ledger, prices: defaultPrices, log: pino({}, { write }) });
  const unwritable = { status: 503, code: "ledger_unwritable" };
  file.room = 10;
  for (let times = 0; times < 3; times++) await assert.rejects(accounts.bill(ended(5)), unwritable);
  assert.equal(accounts.isWritable, false);
  file.room = undefined;
  await accounts.bill(ended(5));
  await accounts.bill(ended(5));
  assert.deepEqual(said, [
    [50, "the ledger cannot be written", "no space"],
    [30, "the ledger can be written again", undefined],
  ]);
});

test("nodes are told when they start, change and stop", async () => {
  const { accounts, file } = await open();
  await accounts.setTopology(oneNode);
  await accounts.setTopology({ ...oneNode, combinedNodes: 2 });
  await accounts.close();
  assert.deepEqual(
    file.lines.map(({ event, combinedNodes }) => [event, combinedNodes]),
    [
      ["start", 1],
      ["change", 2],
      ["stop", 2],
    ],
  );
  assert.equal(file.calls.at(-1), "close");
});

test("a server that never served stops nothing", async () => {
  const { accounts, file } = await open();
  await accounts.close();
  assert.deepEqual(file.calls, ["close"]);
});
