import { FleetTime, type NodeTime } from "./fleet-time.ts";
import { addGaps, gapOf, noGap, type IncomeGap } from "./income-gap.ts";
import type { LedgerRecord, RequestRecord } from "./ledger-record.ts";
import { type ModelSums, withRequest } from "./model-sums.ts";
import { charge, totalOf, type Picodollars } from "./money.ts";
import type { PriceBook } from "./price-book.ts";

const HOUR_MS = 3_600_000;

export interface ReportOptions {
  /** Requests completed from here on, milliseconds since 1970; the ledger's first record. */
  readonly since?: number;
  /** Requests completed before; the ledger's last record. */
  readonly until?: number;
  readonly acceleratorHour: Picodollars;
  /** Theoretical income reckons every token at this model's standard price of its day. */
  readonly prices: PriceBook;
  readonly priceModel: string;
}

/** DeepSeek's statistics of a day. Null: there is nothing to divide by. */
export interface Report {
  /** Milliseconds since 1970: the part of the period that the ledger covers. */
  readonly from: number | null;
  readonly to: number | null;
  readonly requests: { readonly complete: number; readonly left: number; readonly failed: number };
  readonly inputTokens: number;
  readonly hitTokens: number;
  readonly hitShare: number | null;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  /** Tokens per second of one sequence, from its first token to its last. */
  readonly outputSpeed: number | null;
  /** Seconds from admission to a sequence's first token. */
  readonly timeToFirstToken: number | null;
  /** Context that an output token was computed from, in tokens. */
  readonly kvTokensPerOutputToken: number | null;
  readonly averageNodes: number | null;
  readonly nodeHours: { readonly [Role in "prefill" | "decode" | "combined" | "all"]: number };
  readonly acceleratorHours: number;
  /** Tokens per second and node; those of prefill nodes with cache hits and without. */
  readonly inputPerPrefillNode: number | null;
  readonly computedPerPrefillNode: number | null;
  readonly outputPerDecodeNode: number | null;
  readonly cost: Picodollars;
  readonly theoreticalIncome: Picodollars;
  /** Profit over cost, as DeepSeek reckons it: 5.45 is 545 %. */
  readonly theoreticalMargin: number | null;
  readonly billedIncome: Picodollars;
  readonly billedMargin: number | null;
  /** Theoretical less billed income, by its causes. */
  readonly incomeGap: IncomeGap;
  readonly unbilledRequests: number;
  /** Requests that went on after a loss of ranks, and the tokens computed again, which nobody pays. */
  readonly resumedRequests: number;
  readonly recomputedTokens: number;
  /** By name; they add up to the whole. */
  readonly models: readonly ModelSums[];
}

/**
 * The statistics of a ledger's records, which are read once and not kept.
 * @throws PriceBookError when there is no theoretical price for a request.
 */
export async function reportOn(
  records: AsyncIterable<LedgerRecord> | Iterable<LedgerRecord>,
  options: ReportOptions,
): Promise<Report> {
  const { since = -Infinity, until = Infinity } = options;
  const fleet = new FleetTime(since, until);
  const sums = new RequestSums(options);
  let first = Infinity;
  let last = -Infinity;
  for await (const record of records) {
    fleet.add(record);
    first = Math.min(first, record.time);
    last = Math.max(last, record.time);
    const { kind, time } = record;
    if (kind === "request" && since <= time && time < until) sums.add(record);
  }
  const period = { from: Math.max(first, since), to: Math.min(last, until) };
  return assemble(sums, fleet.nodeTime, period, options.acceleratorHour);
}

/** What adds up over requests. */
class RequestSums {
  readonly #options: ReportOptions;
  readonly requests = { complete: 0, left: 0, failed: 0 };
  readonly tokens = { hit: 0, miss: 0, output: 0, reasoning: 0 };
  readonly timing = { sequences: 0, firstTokenMs: 0, decodeMs: 0 };
  kvTokensRead = 0;
  theoretical: Picodollars = 0n;
  billed: Picodollars = 0n;
  gap: IncomeGap = noGap;
  unbilledRequests = 0;
  resumedRequests = 0;
  recomputedTokens = 0;
  readonly models = new Map<string, ModelSums>();

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  add(record: RequestRecord): void {
    const { time, model, outcome, tokens, timing, kvTokensRead, resumed, billing } = record;
    const { prices, priceModel } = this.#options;
    this.requests[outcome]++;
    addTo(this.tokens, tokens);
    addTo(this.timing, timing);
    this.kvTokensRead += kvTokensRead;
    if (resumed) this.resumedRequests++;
    this.recomputedTokens += resumed?.recomputedTokens ?? 0;
    const theoretical = totalOf(charge(tokens, prices.standardPriceAt(priceModel, time).rates));
    this.theoretical += theoretical;
    this.models.set(model, withRequest(this.models.get(model), record, theoretical));
    this.gap = addGaps(this.gap, gapOf(record, theoretical, prices));
    if (billing.kind === "billed") this.billed += totalOf(billing.picodollars);
    else this.unbilledRequests++;
  }
}

function addTo<Name extends string>(
  sums: Record<Name, number>,
  values: Readonly<Record<Name, number>>,
): void {
  for (const name of Object.keys(sums) as Name[]) sums[name] += values[name];
}

function assemble(
  sums: RequestSums,
  nodeTime: NodeTime,
  { from, to }: { readonly from: number; readonly to: number },
  acceleratorHour: Picodollars,
): Report {
  const { hit, miss, output, reasoning } = sums.tokens;
  const { sequences, firstTokenMs, decodeMs } = sums.timing;
  const { prefill, decode, combined, accelerators } = nodeTime;
  const nodes = prefill + decode + combined;
  const cost = costOf(accelerators, acceleratorHour);
  return {
    from: from <= to ? from : null,
    to: from <= to ? to : null,
    requests: sums.requests,
    inputTokens: hit + miss,
    hitTokens: hit,
    hitShare: ratio(hit, hit + miss),
    outputTokens: output,
    reasoningTokens: reasoning,
    outputSpeed: ratio(output - sequences, decodeMs / 1000),
    timeToFirstToken: ratio(firstTokenMs / 1000, sequences),
    // Every output token reads its prompt at least: nothing read is nothing known.
    kvTokensPerOutputToken: sums.kvTokensRead > 0 ? ratio(sums.kvTokensRead, output) : null,
    averageNodes: ratio(nodes, to - from),
    nodeHours: {
      prefill: prefill / HOUR_MS,
      decode: decode / HOUR_MS,
      combined: combined / HOUR_MS,
      all: nodes / HOUR_MS,
    },
    acceleratorHours: accelerators / HOUR_MS,
    inputPerPrefillNode: ratio(hit + miss, (prefill + combined) / 1000),
    computedPerPrefillNode: ratio(miss, (prefill + combined) / 1000),
    outputPerDecodeNode: ratio(output, (decode + combined) / 1000),
    cost,
    theoreticalIncome: sums.theoretical,
    theoreticalMargin: marginOf(sums.theoretical, cost),
    billedIncome: sums.billed,
    billedMargin: marginOf(sums.billed, cost),
    incomeGap: sums.gap,
    unbilledRequests: sums.unbilledRequests,
    resumedRequests: sums.resumedRequests,
    recomputedTokens: sums.recomputedTokens,
    models: [...sums.models.values()].sort((a, b) => (a.model < b.model ? -1 : 1)),
  };
}

const ratio = (part: number, whole: number) => (whole > 0 ? part / whole : null);

/** Exact to the picodollar; `acceleratorMs` are whole milliseconds. */
const costOf = (acceleratorMs: number, acceleratorHour: Picodollars): Picodollars =>
  (BigInt(acceleratorMs) * acceleratorHour) / BigInt(HOUR_MS);

const marginOf = (income: Picodollars, cost: Picodollars) =>
  ratio(Number(income - cost), Number(cost));
