import type { EngineStats } from "../../engine/index.ts";
import type { Load } from "../admission.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { Latencies } from "./latencies.ts";
import { defaultPrices } from "../billing/index.ts";
import {
  charge,
  exactDollars,
  parseDollars,
  rate,
  totalOf,
  type BilledTokens,
} from "../billing/index.ts";
import { publishedAcceleratorHour, publishedPriceModel } from "../billing/index.ts";
import type { ExpertLayer, RankStatus, StatusSnapshot, UnitStatus } from "./status-snapshot.ts";

export interface StatusOptions {
  readonly cluster: ClusterView;
  /** What the model has of the sequences inside. */
  readonly load: Readonly<Load>;
  readonly draining: () => boolean;
  readonly tokens: () => BilledTokens;
  readonly resumed: () => StatusSnapshot["resumed"];
  readonly latencies: Pick<Latencies, "firstToken" | "perToken">;
  /** The model's names. */
  readonly models: readonly string[];
  /** All models of the server. */
  readonly served: readonly string[];
  readonly maxModelLen: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Counters at a moment, and that moment. */
interface Reading {
  readonly time: number;
  readonly tokens: BilledTokens;
  /** By rank; undefined when the engine does not answer. */
  readonly ranks: readonly EngineStats[] | undefined;
}

/** Rates over more than this say nothing of now. */
const STALE_MS = 10_000;

const silent: EngineStats = {
  ...{ waiting: 0, running: 0, pages: 0, pagesInUse: 0, pagesCached: 0, steps: 0 },
  ...{ promptTokens: 0, hitTokens: 0, generatedTokens: 0, preemptions: 0 },
  ...{ proposedTokens: 0, acceptedTokens: 0 },
};

/** Reads a cluster's counters and makes what changed since the last tick into rates. */
export class Status {
  readonly #options: StatusOptions;
  readonly #startedAt: number;
  /** The last tick's. */
  #last: Reading | undefined;

  constructor(options: StatusOptions) {
    this.#options = options;
    this.#startedAt = options.now();
  }

  /** Now, with rates since the last tick; whoever reads changes nothing for others. */
  async read(): Promise<StatusSnapshot> {
    return this.#tell(await this.#readCounters());
  }

  /** As `read`; the rates that are read next are since now. */
  async tick(): Promise<StatusSnapshot> {
    const reading = await this.#readCounters();
    const snapshot = this.#tell(reading);
    this.#last = reading;
    return snapshot;
  }

  async #readCounters(): Promise<Reading> {
    const { cluster, tokens, now } = this.#options;
    const ranks = await cluster.rankStats().catch(() => undefined);
    return { time: now(), tokens: tokens(), ranks };
  }

  #tell(reading: Reading): StatusSnapshot {
    const { cluster, load, latencies, models, served, maxModelLen } = this.#options;
    const before = this.#before(reading);
    const seconds = (reading.time - before.time) / 1000;
    const { waiting, running, decoding } = load;
    return {
      time: reading.time,
      seconds,
      upSeconds: Math.max(0, reading.time - this.#startedAt) / 1000,
      served: [...served],
      models: [...models],
      maxModelLen,
      engine: reading.ranks ? "up" : "down",
      draining: this.#options.draining(),
      units: this.#units(reading, before, seconds),
      scaling: {
        wanted: { ...cluster.scaling.wanted },
        changes: cluster.scaling.changes.map((change) => ({
          ...change,
          time: Math.round(change.time),
        })),
      },
      requests: { waiting, prefill: running - decoding, decode: decoding },
      resumed: { ...this.#options.resumed() },
      tokens: { ...reading.tokens },
      tokensPerSecond: {
        hit: perSecond(reading.tokens.hit, before.tokens.hit, seconds),
        miss: perSecond(reading.tokens.miss, before.tokens.miss, seconds),
        output: perSecond(reading.tokens.output, before.tokens.output, seconds),
      },
      latency: {
        firstToken: latencies.firstToken(reading.time),
        perToken: latencies.perToken(reading.time),
      },
      journeys: cluster.journeysSince(before.time).map((journey) => ({ ...journey })),
      income: incomeOf(reading),
      cost: costOf(cluster.topology.ranks),
    };
  }

  /** What to compare with: the reading itself when there is no earlier one of use. */
  #before(reading: Reading): Reading {
    const last = this.#last;
    if (!last || last.time > reading.time || reading.time - last.time > STALE_MS) return reading;
    return last;
  }

  #units(reading: Reading, before: Reading, seconds: number): UnitStatus[] {
    const { topology, nodeOfRank } = this.#options.cluster;
    const placements = this.#options.cluster.placements();
    const views = this.#options.cluster.units();
    return topology.units.map(({ role, ranks }, unit) => {
      const stats = ranks.map((rank) => reading.ranks?.[rank] ?? silent);
      const earlier = ranks.map((rank, index) => before.ranks?.[rank] ?? stats[index]);
      return {
        unit: views[unit].unit,
        state: views[unit].state,
        role,
        ranks: ranks.map((rank, index) =>
          rankStatus({ rank, node: nodeOfRank[rank] }, stats[index], earlier[index], seconds),
        ),
        sharesExperts: placements[unit].shared,
        overlapped: overlappedShare(stats.at(0), earlier.at(0)),
        experts: placements[unit].layers.map(
          ({ layer, physicalToLogical, experts }, index): ExpertLayer => ({
            layer,
            physicalToLogical: [...physicalToLogical],
            choices: sumChoices(stats, index, experts),
          }),
        ),
      };
    });
  }
}

function rankStatus(
  place: { readonly rank: number; readonly node: number },
  stats: EngineStats,
  before: EngineStats,
  seconds: number,
): RankStatus {
  const { waiting, running, pages, pagesInUse, pagesCached } = stats;
  return {
    ...place,
    lost: stats.lost !== undefined,
    waiting,
    running,
    pages: { total: pages, inUse: pagesInUse, cached: pagesCached },
    promptTokensPerSecond: perSecond(stats.promptTokens, before.promptTokens, seconds),
    generatedTokensPerSecond: perSecond(stats.generatedTokens, before.generatedTokens, seconds),
    bytesPerSecond: perSecond(bytesSent(stats), bytesSent(before), seconds),
    ...(stats.handedOver && {
      handedOverPerSecond: handoverRates(
        stats.handedOver,
        before.handedOver ?? stats.handedOver,
        seconds,
      ),
    }),
    ...(stats.contextCache && { contextCache: cacheStatus(stats.contextCache) }),
  };
}

type HandedOver = NonNullable<EngineStats["handedOver"]>;

function handoverRates(
  now: HandedOver,
  before: HandedOver,
  seconds: number,
): RankStatus["handedOverPerSecond"] {
  const rateOf = (kind: keyof HandedOver) => perSecond(now[kind], before[kind], seconds);
  return { sequences: rateOf("sequences"), tokens: rateOf("tokens"), bytes: rateOf("bytes") };
}

/** The ranks of a unit take all steps together, in one order: one rank's counts tell. */
function overlappedShare(now?: EngineStats, before = now): number | null {
  // A unit that starts may have no ranks yet.
  if (now?.overlappedSteps === undefined || !before) return null;
  const steps = now.steps - before.steps;
  if (steps <= 0) return null;
  return Math.min(1, (now.overlappedSteps - (before.overlappedSteps ?? 0)) / steps);
}

function cacheStatus(cache: NonNullable<EngineStats["contextCache"]>): RankStatus["contextCache"] {
  const { hits, misses, lent, written, dropped, late, failed, rejected, bypassed } = cache;
  const { bytesRead, bytesWritten } = cache;
  return {
    ...{ hits, misses, lent, written, bytesRead, bytesWritten, dropped, late, failed },
    rejected: Object.values(rejected).reduce((sum, count) => sum + count, 0),
    bypassed: (["reads", "writes"] as const).filter((each) => bypassed[each] !== undefined),
  };
}

/** A count of many choices' common prompt may be corrected downwards; a rate is never negative. */
function perSecond(count: number, before: number, seconds: number): number {
  return seconds > 0 ? Math.max(0, count - before) / seconds : 0;
}

const bytesSent = ({ traffic }: EngineStats) =>
  traffic?.bytesTo.reduce((sum, bytes) => sum + bytes, 0) ?? 0;

/** Each rank counts what its own rows chose; one that has computed nothing has no counts. */
function sumChoices(stats: readonly EngineStats[], layer: number, experts: number): number[] {
  const loads = stats.map(({ traffic }) => traffic?.expertLoads[layer] ?? []);
  return Array.from({ length: experts }, (_, expert) =>
    loads.reduce((sum, load) => sum + (load[expert] ?? 0), 0),
  );
}

function incomeOf({ tokens, time }: Reading): StatusSnapshot["income"] {
  const { name, rates } = defaultPrices.standardPriceAt(publishedPriceModel, time);
  const dollars = (kind: keyof BilledTokens) => String(rate.encode(rates[kind]));
  return {
    price: name,
    dollarsPerMillionTokens: {
      hit: dollars("hit"),
      miss: dollars("miss"),
      output: dollars("output"),
    },
    total: exactDollars(totalOf(charge(tokens, rates))),
  };
}

function costOf(accelerators: number): StatusSnapshot["cost"] {
  const hour = parseDollars(publishedAcceleratorHour) ?? 0n;
  const perHour = exactDollars(hour * BigInt(accelerators));
  return { acceleratorHour: publishedAcceleratorHour, accelerators, perHour };
}
