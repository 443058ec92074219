import { pino, type Logger } from "pino";
import { ApiError } from "../errors.ts";
import type { GenerationEnd } from "./generation-end.ts";
import type { Billing, RequestRecord, Topology, TopologyRecord } from "./ledger-record.ts";
import type { Ledger } from "./ledger.ts";
import { charge, type Picodollars, totalOf } from "./money.ts";
import type { PriceBook } from "./price-book.ts";

/** A crash hides at most so much of the time the nodes have served. */
const SIGN_OF_LIFE_MS = 60_000;

export interface AccountsOptions {
  readonly ledger: Ledger;
  readonly prices: PriceBook;
  /** Where the operator is told that the ledger, or a bill, cannot be written. */
  readonly log?: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** A request that has ended, as its bill needs it. */
export interface EndedRequest extends GenerationEnd {
  readonly id: string;
  readonly requestId: string;
  readonly tenant: string;
  readonly model: string;
  /** Whether the client was told tokens while they came. */
  readonly streamed: boolean;
}

/** Bills requests and says which nodes serve, in a ledger. */
export class Accounts {
  readonly #ledger: Ledger;
  readonly #prices: PriceBook;
  readonly #log: Logger;
  readonly #now: () => number;
  #topology: Topology | undefined;
  #signOfLife: NodeJS.Timeout | undefined;

  constructor(options: AccountsOptions) {
    this.#ledger = options.ledger;
    this.#prices = options.prices;
    this.#log = options.log ?? pino({ level: "silent" });
    this.#now = options.now ?? Date.now;
    this.#ledger.onProblem = (problem) => {
      if (problem === undefined) this.#log.info("the ledger can be written again");
      else this.#log.error({ err: problem }, "the ledger cannot be written");
    };
  }

  get isWritable(): boolean {
    return this.#ledger.problem === undefined;
  }

  /** @throws ApiError 503 while bills cannot be written: nothing is computed that nobody pays. */
  assertWritable(): void {
    if (!this.isWritable) throw unwritable();
  }

  /**
   * What a request costs at this moment, its completion; resolves when the bill is durable. One of
   * which nothing was computed leaves no line.
   * @throws ApiError 503 when the bill could not be written.
   */
  async bill(request: EndedRequest): Promise<Picodollars> {
    if (request.reading.output === 0) return 0n;
    try {
      const record = this.#record(request, this.#now());
      await this.#ledger.append(record);
      return costOf(record);
    } catch (error) {
      const { id, requestId, tenant, model, usage } = request;
      this.#log.error({ err: error, id, requestId, tenant, model, usage }, "not billed");
      throw unwritable();
    }
  }

  /** Which nodes serve from now on. Rejects when the ledger cannot be written. */
  async setTopology(topology: Topology): Promise<void> {
    const event = this.#topology ? "change" : "start";
    this.#topology = topology;
    this.#signOfLife ??= setInterval(() => void this.#giveSignOfLife(), SIGN_OF_LIFE_MS).unref();
    await this.#writeTopology(event, topology);
  }

  /** No node serves any more; resolves when all is written and the ledger closed. */
  async close(): Promise<void> {
    clearInterval(this.#signOfLife);
    try {
      if (this.#topology) await this.#writeTopology("stop", this.#topology);
    } finally {
      await this.#ledger.close();
    }
  }

  /** Also finds out whether a ledger that could not be written can be again. */
  async #giveSignOfLife(): Promise<void> {
    try {
      if (this.#topology) await this.#writeTopology("alive", this.#topology);
    } catch {
      // The ledger has told of it.
    }
  }

  #writeTopology(event: TopologyRecord["event"], topology: Topology): Promise<void> {
    return this.#ledger.append({ kind: "topology", time: this.#now(), event, ...topology });
  }

  #record(request: EndedRequest, time: number): RequestRecord {
    const { id, requestId, tenant, model, outcome, finishReasons, usage, reading } = request;
    const {
      hit,
      miss,
      output,
      kvTokensRead,
      resumed: times,
      recomputedTokens,
      ...timing
    } = reading;
    const { reasoning_tokens: reasoning } = usage.completion_tokens_details;
    return {
      ...{ kind: "request", time, id, requestId, tenant, model, outcome },
      finishReasons: [...finishReasons],
      tokens: { hit, miss, output, reasoning },
      kvTokensRead,
      timing,
      ...(times > 0 && { resumed: { times, recomputedTokens } }),
      billing: this.#billing(request, time),
    };
  }

  #billing({ tenant, model, outcome, streamed, reading }: EndedRequest, time: number): Billing {
    if (outcome === "failed") return { kind: "unbilled", reason: "failed" };
    if (outcome === "left" && !streamed) return { kind: "unbilled", reason: "untold" };
    const reason = this.#prices.unbilledReason(tenant, model);
    if (reason) return { kind: "unbilled", reason };
    const price = this.#prices.priceAt(model, time);
    return { kind: "billed", price, picodollars: charge(reading, price.rates) };
  }
}

export const costOf = ({ billing }: RequestRecord): Picodollars =>
  billing.kind === "billed" ? totalOf(billing.picodollars) : 0n;

const unwritable = () =>
  new ApiError(503, "ledger_unwritable", "the bill could not be written; nothing was charged");
