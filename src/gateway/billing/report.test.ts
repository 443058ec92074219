import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultPrices } from "./deepseek-prices.ts";
import { at, requestRecord, topologyRecord } from "./ledger-fixtures.ts";
import type { LedgerRecord } from "./ledger-record.ts";
import { charge, parseDollars } from "./money.ts";
import { publishedAcceleratorHour, publishedDay, publishedPriceModel } from "./published-day.ts";
import { publishedScenario } from "./published-scenario.ts";
import { reportOn, type ReportOptions } from "./report.ts";

const twoDollars = parseDollars(publishedAcceleratorHour) ?? assert.fail();

const ask = (records: Iterable<LedgerRecord>, options: Partial<ReportOptions> = {}) =>
  reportOn(records, {
    acceleratorHour: twoDollars,
    prices: defaultPrices,
    priceModel: publishedPriceModel,
    ...options,
  });

test("the published day costs $87,072, and its rounded tokens earn $562,100", async () => {
  const day = await ask(publishedDay());
  assert.equal(day.cost, parseDollars("87072"));
  assert.equal(day.theoreticalIncome, parseDollars("562100"));
  assert.equal(((day.theoreticalMargin ?? 0) * 100).toFixed(1), "545.6");
  assert.equal(day.averageNodes, 226.75);
  assert.equal(day.nodeHours.all, 5442);
  assert.equal(((day.hitShare ?? 0) * 100).toFixed(1), "56.3");
  assert.equal(((day.inputPerPrefillNode ?? 0) / 1000).toFixed(1), "73.7");
  assert.equal(((day.outputPerDecodeNode ?? 0) / 1000).toFixed(1), "14.8");
  assert.equal(day.billedIncome, 0n);
  assert.equal(day.kvTokensPerOutputToken, null);
  assert.equal(day.outputSpeed, null);
});

test("the day's steps are whole units and add up to the chart's nodes", () => {
  const counts: number[] = [];
  for (const record of publishedDay()) {
    if (record.kind !== "topology") continue;
    const { prefillNodes, decodeNodes } = record;
    assert.equal(prefillNodes % 4, 0);
    assert.equal(decodeNodes % 18, 0);
    if (record.event !== "stop") counts.push(prefillNodes + decodeNodes);
  }
  assert.deepEqual(counts, [278, 218, 188, 158, 128, 98, 68, 98, 128, 188, 218, 278]);
});

test("requests add up to DeepSeek's statistics", async () => {
  const story = [
    topologyRecord("12:00:00", "start", { prefillNodes: 2, decodeNodes: 3, combinedNodes: 1 }),
    requestRecord({ time: at("12:10:00") }),
    requestRecord({
      time: at("12:20:00"),
      model: "cow",
      outcome: "left",
      tokens: { hit: 0, miss: 300, output: 30, reasoning: 5 },
      kvTokensRead: 9435,
      timing: { sequences: 2, firstTokenMs: 1000, decodeMs: 2800 },
      resumed: { times: 2, recomputedTokens: 450 },
      billing: { kind: "unbilled", reason: "tenant" },
    }),
    topologyRecord("13:00:00", "stop"),
  ];
  const { requests, nodeHours, ...said } = await ask(story);
  assert.deepEqual(requests, { complete: 1, left: 1, failed: 0 });
  assert.deepEqual(nodeHours, { prefill: 2, decode: 3, combined: 1, all: 6 });
  const billed = 64n * 140_000n + 36n * 550_000n + 10n * 2_190_000n;
  const cost = 6n * 8n * twoDollars;
  const theoreticalIncome = billed + 300n * 550_000n + 30n * 2_190_000n;
  assert.deepEqual(said, {
    from: at("12:00:00"),
    to: at("13:00:00"),
    inputTokens: 400,
    hitTokens: 64,
    hitShare: 0.16,
    outputTokens: 40,
    reasoningTokens: 8,
    outputSpeed: 37 / 3.7,
    timeToFirstToken: 0.5,
    kvTokensPerOutputToken: (1045 + 9435) / 40,
    averageNodes: 6,
    acceleratorHours: 48,
    inputPerPrefillNode: 400 / (3 * 3600),
    computedPerPrefillNode: 336 / (3 * 3600),
    outputPerDecodeNode: 40 / (4 * 3600),
    cost,
    theoreticalIncome,
    theoreticalMargin: Number(theoreticalIncome - cost) / Number(cost),
    billedIncome: billed,
    billedMargin: Number(billed - cost) / Number(cost),
    incomeGap: {
      ...{ modelPrices: 0n, discounts: 0n },
      unbilledTraffic: 300n * 550_000n + 30n * 2_190_000n,
    },
    unbilledRequests: 1,
    resumedRequests: 1,
    recomputedTokens: 450,
    models: [
      {
        ...{ model: "calf", requests: 1, inputTokens: 100, hitTokens: 64, outputTokens: 10 },
        ...{ theoreticalIncome: billed, billedIncome: billed },
      },
      {
        ...{ model: "cow", requests: 1, inputTokens: 300, hitTokens: 0, outputTokens: 30 },
        ...{ theoreticalIncome: theoreticalIncome - billed, billedIncome: 0n },
      },
    ],
  });
});

test("theoretical income is at the standard price of the request's day, whatever the hour", async () => {
  const tokens = { hit: 0, miss: 0, output: 1_000_000, reasoning: 0 };
  const night = requestRecord({ time: at("20:00:00"), tokens });
  assert.equal((await ask([night])).theoreticalIncome, parseDollars("2.19"));
  const chat = { priceModel: "deepseek-chat" };
  assert.equal((await ask([night], chat)).theoreticalIncome, parseDollars("1.1"));
});

test("a period takes the requests completed in it and the node time that falls in it", async () => {
  const story = [
    topologyRecord("08:00:00", "start"),
    requestRecord({ time: at("09:00:00"), id: "at the beginning" }),
    requestRecord({ time: at("10:59:59"), id: "just before the end" }),
    requestRecord({ time: at("11:00:00"), id: "too late" }),
    topologyRecord("14:00:00", "stop"),
  ];
  const hour = await ask(story, { since: at("09:00:00"), until: at("11:00:00") });
  assert.equal(hour.requests.complete, 2);
  assert.equal(hour.nodeHours.all, 2);
  assert.equal(hour.averageNodes, 1);
  assert.deepEqual([hour.from, hour.to], [at("09:00:00"), at("11:00:00")]);
  const before = await ask(story, { until: at("07:00:00") });
  assert.deepEqual([before.from, before.nodeHours.all, before.averageNodes], [null, 0, null]);
});

test("accelerators that do not spread evenly over nodes cost their time to the millisecond", async () => {
  const uneven = { combinedNodes: 7, acceleratorsPerNode: 29 / 7 };
  const { cost, acceleratorHours } = await ask([
    topologyRecord("12:00:00", "start", uneven),
    topologyRecord("12:01:00", "stop", uneven),
  ]);
  assert.equal(cost, (29n * twoDollars) / 60n);
  assert.equal(acceleratorHours, 29 / 60);
});

test("an empty ledger has no shares, no speeds and no margins", async () => {
  const { from, to, cost, hitShare, outputSpeed, averageNodes, billedMargin } = await ask([]);
  assert.deepEqual(
    [from, to, cost, hitShare, outputSpeed, averageNodes, billedMargin],
    [null, null, 0n, null, null, null, null],
  );
});

test("what is not earned is told by its causes, which add up", async () => {
  const tokens = { hit: 0, miss: 0, output: 1_000_000, reasoning: 0 };
  const asked = (time: string, model: string, tenant = "api"): LedgerRecord => {
    const price = defaultPrices.priceAt(model, at(time));
    const billing =
      tenant === "web"
        ? ({ kind: "unbilled", reason: "tenant" } as const)
        : ({ kind: "billed", price, picodollars: charge(tokens, price.rates) } as const);
    return requestRecord({ time: at(time), model, tenant, tokens, billing });
  };
  const { theoreticalIncome, billedIncome, incomeGap } = await ask([
    asked("12:00:00", "deepseek-reasoner"),
    asked("12:00:00", "deepseek-chat"),
    asked("20:00:00", "deepseek-chat"),
    asked("20:00:00", "deepseek-reasoner"),
    asked("20:00:00", "deepseek-chat", "web"),
  ]);
  const dollars = (text: string) => parseDollars(text) ?? assert.fail();
  assert.deepEqual(incomeGap, {
    modelPrices: 2n * (dollars("2.19") - dollars("1.1")),
    unbilledTraffic: dollars("2.19"),
    discounts: dollars("1.1") + dollars("2.19") - 2n * dollars("0.55"),
  });
  const { modelPrices, unbilledTraffic, discounts } = incomeGap;
  assert.equal(theoreticalIncome - billedIncome, modelPrices + unbilledTraffic + discounts);
});

test("the published day's scenario has the day's tokens and theoretical income, and earns less", async () => {
  const day = await ask(publishedScenario(defaultPrices));
  const whole = await ask(publishedDay());
  for (const key of [
    "inputTokens",
    "hitTokens",
    "outputTokens",
    "theoreticalIncome",
    "cost",
  ] as const) {
    assert.equal(day[key], whole[key]);
  }
  const { modelPrices, unbilledTraffic, discounts } = day.incomeGap;
  assert.equal(day.theoreticalIncome - day.billedIncome, modelPrices + unbilledTraffic + discounts);
  const share = Number(unbilledTraffic) / Number(day.theoreticalIncome);
  assert.ok(Math.abs(share - 0.5) < 1e-6);
  const onlyR1 = await ask(publishedScenario(defaultPrices, { v3: 0, free: 0 }));
  assert.equal(onlyR1.incomeGap.modelPrices, 0n);
  assert.equal(onlyR1.incomeGap.unbilledTraffic, 0n);
  assert.ok(onlyR1.incomeGap.discounts > 0n);
});
