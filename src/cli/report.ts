import { z } from "zod";
import {
  assumedShares,
  charge,
  defaultPrices,
  exactDollars,
  instant,
  parseDollars,
  PriceBook,
  publishedAcceleratorHour,
  publishedDay,
  publishedFigures,
  publishedPriceModel,
  publishedScenario,
  readLedger,
  reportOn,
  roundedDollars,
  totalOf,
  type LedgerRecord,
  type Picodollars,
  type Report,
  type ReportOptions,
} from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";
import { table } from "./table.ts";

/** Options as they were typed. */
export interface ReportArguments {
  readonly ledger?: string;
  readonly since?: string;
  readonly until?: string;
  readonly prices?: string;
  /** Dollars. */
  readonly acceleratorHour: string;
  readonly priceModel: string;
  readonly json: boolean;
}

export const reportDefaults = {
  acceleratorHour: publishedAcceleratorHour,
  priceModel: publishedPriceModel,
} as const;

/** `daysix report`: DeepSeek's statistics of what a ledger records. */
export async function report(given: ReportArguments): Promise<void> {
  if (given.ledger === undefined) {
    throw new UsageError("--ledger: give the file that `daysix serve --ledger FILE` wrote");
  }
  const options = await optionsOf(given);
  const unreadable: string[] = [];
  const figures = await reportOn(recordsOf(given.ledger, unreadable), options);
  for (const problem of unreadable) console.error(`daysix: ${problem}; passed over`);
  if (given.json) printJson({ ...figures, unreadable });
  else {
    printTable(periodOf(figures), rowsOf(figures));
    if (figures.models.length > 1) printModels(figures.models);
  }
}

/** `daysix report --published-day`: DeepSeek's day through the same code, beside what it printed. */
export async function reportPublishedDay(given: ReportArguments): Promise<void> {
  const options = await optionsOf(given);
  const figures = await reportOn(publishedDay(), options);
  const assumed = await reportOn(publishedScenario(options.prices), options);
  if (given.json) {
    const known = Object.entries(figures).filter(([key]) => !perRequest.has(key));
    const { billedIncome, billedMargin, incomeGap } = assumed;
    const scenario = { assumed: assumedShares, billedIncome, billedMargin, incomeGap };
    printJson({ ...Object.fromEntries(known), published: publishedFigures, scenario });
    return;
  }
  const published: Readonly<Record<string, string>> = publishedFigures;
  const rows = rowsOf(figures).filter(({ key }) => !perRequest.has(key));
  printTable(
    `DeepSeek's published day, ${periodOf(figures)}`,
    rows.map((row) => ({ ...row, published: published[row.key] ?? "" })),
  );
  console.log(whyTheyDiffer(figures, options));
  const income = moneyRows(assumed).filter(({ key }) => key !== "unbilledRequests");
  console.log("");
  printTable(scenarioTitle, income);
}

/** What cannot be known of a day of which only the totals are published. */
const perRequest: ReadonlySet<string> = new Set<keyof Report>([
  "requests",
  "unbilledRequests",
  "resumedRequests",
  "recomputedTokens",
  "reasoningTokens",
  "timeToFirstToken",
  "billedIncome",
  "incomeGap",
  "billedMargin",
  "models",
]);

const shareOf = (share: number) => `${100 * share} %`;

const scenarioTitle = `DeepSeek says why the real income is lower, not by how much. Assumed, not published: ${shareOf(assumedShares.v3)} of
the tokens are DeepSeek-V3's, and ${shareOf(assumedShares.free)} of each model's come from the web and the app, which are free;
nights cost what they did, and tokens were asked for as the income's chart has it:`;

function whyTheyDiffer(figures: Report, { prices, priceModel }: ReportOptions): string {
  const { rates } = prices.standardPriceAt(priceModel, figures.to ?? 0);
  const halfBillion = totalOf(charge({ hit: 0, miss: 0, output: 0.5e9 }, rates));
  return `
The published income counts exact tokens; the token totals are published in whole billions,
and half a billion output tokens alone are ${roundedDollars(halfBillion, 0)}. Output speed and KV length do not follow
from totals. How nodes divide into prefill and decode units is inferred from the chart's steps.`;
}

async function optionsOf(given: ReportArguments): Promise<ReportOptions> {
  const since = given.since === undefined ? undefined : timeOf("since", given.since);
  const until = given.until === undefined ? undefined : timeOf("until", given.until);
  if (since !== undefined && until !== undefined && since >= until) {
    throw new UsageError(`--until: expected a time after --since, got ${given.until}`);
  }
  const acceleratorHour = parseDollars(given.acceleratorHour);
  if (acceleratorHour === undefined) {
    throw new UsageError(
      `--accelerator-hour: expected dollars such as 2 or 0.35, got ${given.acceleratorHour}`,
    );
  }
  return {
    acceleratorHour,
    priceModel: given.priceModel,
    prices: given.prices === undefined ? defaultPrices : await PriceBook.load(given.prices),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  };
}

/** A day means its beginning in UTC. */
function timeOf(option: string, text: string): number {
  const { data } = instant.safeParse(
    z.iso.date().safeParse(text).success ? `${text}T00:00:00Z` : text,
  );
  if (data !== undefined) return data;
  const example = "2025-02-27 or 2025-02-27T12:00:00+08:00";
  throw new UsageError(`--${option}: expected an ISO 8601 time such as ${example}, got ${text}`);
}

/** @throws UsageError where there is no record: a server that has started has written one. */
async function* recordsOf(path: string, unreadable: string[]): AsyncGenerator<LedgerRecord> {
  let records = 0;
  for await (const line of readLedger(path)) {
    if (line.kind === "unreadable") unreadable.push(`${path}:${line.line}: ${line.problem}`);
    else {
      records++;
      yield line.record;
    }
  }
  if (records > 0) return;
  throw new UsageError(`--ledger: ${path} has no record, in ${unreadable.length} lines`);
}

/** Money as a string of dollars with every digit, times as ISO 8601. */
function printJson(figures: Readonly<Record<string, unknown>>): void {
  const plain = (key: string, value: unknown) => {
    if (typeof value === "bigint") return exactDollars(value);
    return (key === "from" || key === "to") && typeof value === "number" ? isoOf(value) : value;
  };
  console.log(JSON.stringify(figures, plain, 2));
}

const isoOf = (time: number) => new Date(time).toISOString();

function periodOf({ from, to }: Report): string {
  return from === null || to === null ? "no records" : `${isoOf(from)} to ${isoOf(to)}`;
}

interface Row {
  readonly key: keyof Report;
  readonly label: string;
  readonly value: string;
  /** What DeepSeek printed. */
  readonly published?: string;
}

const row = (key: keyof Report, label: string, value: string): Row => ({ key, label, value });

const rowsOf = (figures: Report): Row[] => [
  ...trafficRows(figures),
  ...nodeRows(figures),
  ...moneyRows(figures),
];

function trafficRows(figures: Report): Row[] {
  const { complete, left, failed } = figures.requests;
  const { outputSpeed, timeToFirstToken, kvTokensPerOutputToken } = figures;
  return [
    row("requests", "requests", `${complete} complete, ${left} left, ${failed} failed`),
    row("resumedRequests", "  outlived ranks", decimal(figures.resumedRequests, 0)),
    row("inputTokens", "input tokens", decimal(figures.inputTokens, 0)),
    row("hitTokens", "  hit the cache", decimal(figures.hitTokens, 0)),
    row("hitShare", "  hit share", percent(figures.hitShare)),
    row("outputTokens", "output tokens", decimal(figures.outputTokens, 0)),
    row("reasoningTokens", "  of these reasoning", decimal(figures.reasoningTokens, 0)),
    row("recomputedTokens", "computed again", decimal(figures.recomputedTokens, 0)),
    row("outputSpeed", "output speed", decimal(outputSpeed, 1, "tokens/s")),
    row("timeToFirstToken", "time to first token", decimal(timeToFirstToken, 3, "s")),
    row(
      "kvTokensPerOutputToken",
      "KV per output token",
      decimal(kvTokensPerOutputToken, 0, "tokens"),
    ),
  ];
}

function nodeRows(figures: Report): Row[] {
  const { nodeHours, inputPerPrefillNode, computedPerPrefillNode, outputPerDecodeNode } = figures;
  const roles = (["prefill", "decode", "combined"] as const).filter((role) => nodeHours[role] > 0);
  return [
    row("averageNodes", "nodes, on average", decimal(figures.averageNodes, 2)),
    row("nodeHours", "node-hours", decimal(nodeHours.all, 2)),
    ...roles.map((role) => row("nodeHours", `  ${role}`, decimal(nodeHours[role], 2))),
    row("inputPerPrefillNode", "prefill per node", decimal(inputPerPrefillNode, 1, "tokens/s")),
    row("computedPerPrefillNode", "  without hits", decimal(computedPerPrefillNode, 1, "tokens/s")),
    row("outputPerDecodeNode", "decode per node", decimal(outputPerDecodeNode, 1, "tokens/s")),
    row("acceleratorHours", "accelerator-hours", decimal(figures.acceleratorHours, 2)),
  ];
}

function moneyRows(figures: Report): Row[] {
  const { unbilledRequests: unbilled } = figures;
  return [
    row("cost", "cost", dollars(figures.cost)),
    row("theoreticalIncome", "theoretical income", dollars(figures.theoreticalIncome)),
    row("theoreticalMargin", "  profit over cost", percent(figures.theoreticalMargin)),
    row("billedIncome", "billed income", dollars(figures.billedIncome)),
    row("billedMargin", "  profit over cost", percent(figures.billedMargin)),
    ...gapRows(figures.incomeGap),
    row("unbilledRequests", "unbilled requests", decimal(unbilled, 0)),
  ];
}

/** What stands between theoretical and billed income; nothing where they are the same. */
function gapRows({ modelPrices, unbilledTraffic, discounts }: Report["incomeGap"]): Row[] {
  if (modelPrices === 0n && unbilledTraffic === 0n && discounts === 0n) return [];
  return [
    row("incomeGap", "  less: model prices", dollars(modelPrices)),
    row("incomeGap", "  less: unbilled", dollars(unbilledTraffic)),
    row("incomeGap", "  less: discounts", dollars(discounts)),
  ];
}

function printTable(title: string, rows: readonly Row[]): void {
  console.log(`${title}\n`);
  const width = Math.max(...rows.map(({ value }) => value.length));
  for (const { label, value, published } of rows) {
    const line = `${label.padEnd(24)}${value.padStart(width)}`;
    console.log(published ? `${line}   published: ${published}` : line);
  }
}

function printModels(models: Report["models"]): void {
  const names = ["of these", "requests", "input tokens", "hit the cache", "output tokens"];
  const rows = models.map((each) => [
    each.model,
    ...[each.requests, each.inputTokens, each.hitTokens, each.outputTokens].map((count) =>
      decimal(count, 0),
    ),
    dollars(each.theoreticalIncome),
    dollars(each.billedIncome),
  ]);
  console.log(`\n${table([[...names, "theoretical income", "billed income"], ...rows])}`);
}

const UNKNOWN = "–";

function decimal(value: number | null, decimals: number, unit = ""): string {
  if (value === null) return UNKNOWN;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return `${value.toLocaleString("en-US", digits)} ${unit}`.trimEnd();
}

/** With microdollars where the digits before them are few: a request costs little. */
function dollars(amount: Picodollars): string {
  const inCents = roundedDollars(amount, 2);
  return inCents.length > "$99.99".length ? inCents : roundedDollars(amount, 6);
}

const percent = (share: number | null) =>
  share === null ? UNKNOWN : `${(share * 100).toFixed(1)} %`;
