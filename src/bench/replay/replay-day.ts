#!/usr/bin/env node
/**
 * `npm run replay:day [-- SEED]`: DeepSeek's published day on a virtual clock: the router and the balancers
 * that serve, the scale policy and a simple cost model. Prints nodes hour by hour beside the published ones
 * and the report of its ledger. docs/scaling.md says the rule.
 */
import {
  defaultPrices,
  parseDollars,
  publishedAcceleratorHour,
  publishedDay,
  publishedNoon,
  publishedPriceModel,
  reportOn,
} from "../../gateway/index.ts";
import { virtualDay } from "./virtual-day.ts";

const [seed = "1"] = process.argv.slice(2);
const HOUR_MS = 3_600_000;
const options = {
  acceleratorHour: parseDollars(publishedAcceleratorHour) ?? 0n,
  ...{ prices: defaultPrices, priceModel: publishedPriceModel },
};

const began = performance.now();
const day = virtualDay(undefined, Number(seed));
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log("hour (Beijing)  nodes  published    tokens/s of a request");
let wrong = 0;
for (const [hour, nodes] of day.nodes.entries()) {
  const since = publishedNoon + hour * HOUR_MS;
  const period = { since, until: since + HOUR_MS };
  const { nodeHours } = await reportOn(publishedDay(), { ...options, ...period });
  wrong += Math.abs(nodes - nodeHours.all);
  console.log(
    `${String((12 + hour) % 24).padStart(9)}:00${nodes.toFixed(1).padStart(12)}` +
      `${nodeHours.all.toFixed(1).padStart(11)}${day.speed[hour].toFixed(1).padStart(12)}`,
  );
}
const report = await reportOn(day.records, options);
console.log(`
node-hours ${report.nodeHours.all.toFixed(1)} (published 5,442), prefill ${report.nodeHours.prefill.toFixed(1)} and decode ${report.nodeHours.decode.toFixed(1)}
an hour's nodes are ${(wrong / 24).toFixed(1)} from the published ones on average
input ${(report.inputTokens / 1e9).toFixed(1)} B tokens, output ${(report.outputTokens / 1e9).toFixed(1)} B (published 608 B and 168 B)
a node's input ${((report.inputPerPrefillNode ?? 0) / 1000).toFixed(1)}k tokens/s, output ${((report.outputPerDecodeNode ?? 0) / 1000).toFixed(1)}k (published ~73.7k and ~14.8k)
slowest second ${day.slowest.toFixed(1)} tokens/s; prompts waited ${day.longestQueue.toFixed(0)} s at most; ${day.failed} requests without a rank
${seconds} s`);
