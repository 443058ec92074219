import { channels, PeerLostError, RankTransport, type Transport } from "../../cluster/index.ts";
import { createKernels, PAGE_TOKENS } from "../../kernels/index.ts";
import { FilePermits, openBlobStore } from "../../kv-cache/index.ts";
import { loadModel, LocalExperts, numericIdentity } from "../../model/index.ts";
import { nullTracer, type Tracer } from "../../trace/index.ts";
import type { EngineStats } from "../messages.ts";
import { Repeats, Speculation } from "../speculation/index.ts";
import { EngineCore } from "./core.ts";
import { PlacedExperts } from "./placed-experts.ts";
import type { Placement, RankOptions, RankPlace } from "./rank-options.ts";
import { UnitClock } from "./unit.ts";

interface RankParts {
  /** Of a rank whose unit shares them. */
  readonly experts?: PlacedExperts;
  /** What is counted outside of the core. */
  readonly counts?: () => Pick<EngineStats, "traffic" | "overlappedSteps">;
}

/** One rank: its engine, and what connects it to the others. */
export class Rank {
  readonly core: EngineCore;
  readonly #transport: Transport;
  readonly #place: Omit<RankPlace, "endpoint">;
  readonly #experts: PlacedExperts | undefined;
  readonly #counts: RankParts["counts"];
  /** Rejects when a rank is lost without which this one cannot step. */
  readonly #unitLost: Promise<never>;
  readonly #met = new Set<number>();
  #meet: (ranks: readonly number[]) => void = () => undefined;

  static async open(options: RankOptions, tracer: Tracer = nullTracer): Promise<Rank> {
    const { modelDirectory, weights, packed, policy, chunkRows, kvMemoryBytes, place } = options;
    if (!Number.isInteger(chunkRows) || chunkRows < 1) {
      throw new RangeError(`chunkRows: expected a positive whole number, got ${chunkRows}`);
    }
    let loseUnit: (error: PeerLostError) => void = () => undefined;
    const unitLost = new Promise<never>((_, reject) => (loseUnit = reject));
    unitLost.catch(() => undefined);
    const transport = new RankTransport(place.endpoint, (error) => {
      if (place.placement && place.unit.includes(error.rank)) loseUnit(error);
    });
    const unit =
      place.placement &&
      new UnitClock(transport, place.unit, {
        overlap: options.overlap ?? "off",
        now: () => performance.now(),
        waitedMs: () => parallel?.waitedMs ?? 0,
      });
    const parallel: PlacedExperts | undefined = unit && new PlacedExperts(place, transport, unit);
    const kernels = createKernels({
      ...{ threads: options.threads ?? 1, fastDecode: options.fastDecode ?? false, weights },
      atFence: unit !== undefined && !place.shared,
    });
    // Where a row alone has bits of its own, computing it in company would change the answer.
    const speculates = options.speculate === true && kernels.modes.length === 0;
    let local: LocalExperts | undefined;
    const model = await loadModel(modelDirectory, {
      kernels,
      packed,
      mtp: speculates,
      policy,
      maxRows: chunkRows,
      tracer,
      createExperts: (stream, config, traced) =>
        parallel?.create(stream, config, traced) ??
        (local = new LocalExperts(stream, config.gate, chunkRows, traced)),
    });
    const pageBytes = model.kvBytesPerToken * PAGE_TOKENS;
    const pages = Math.floor(kvMemoryBytes / pageBytes);
    if (!(pages >= 1)) {
      throw new RangeError(
        `kvMemoryBytes: expected at least ${pageBytes} for one page, got ${kvMemoryBytes}`,
      );
    }
    const { contextCache: kept, ...limits } = options;
    const permits = new FilePermits(place.filePermits, place.endpoint.rank);
    const contextCache = kept && {
      store: await openBlobStore(kept.store, kept.limits, permits),
      identity: numericIdentity(kept.model, { kernels, policy, mtp: model.mtp !== undefined }),
    };
    const core = new EngineCore({
      ...limits,
      ...{ model, pages, transport },
      ...(speculates && {
        speculation: new Speculation(
          () => new Repeats(),
          () => performance.now(),
          { drafts: model.mtp !== undefined },
        ),
      }),
      ...(unit && { unit }),
      ...(contextCache && { contextCache }),
    });
    return new Rank(core, transport, place, unitLost, {
      ...(parallel && { experts: parallel }),
      counts: () => ({
        traffic: parallel?.traffic ?? {
          rowsTo: [],
          rowsSent: [],
          bytesTo: [],
          expertLoads: local?.loads ?? [],
        },
        ...(unit && { overlappedSteps: unit.overlappedSteps }),
      }),
    });
  }

  constructor(
    core: EngineCore,
    transport: Transport,
    place: Omit<RankPlace, "endpoint">,
    unitLost: Promise<never>,
    { experts, counts }: RankParts = {},
  ) {
    this.core = core;
    this.#transport = transport;
    this.#place = place;
    this.#unitLost = unitLost;
    this.#experts = experts;
    this.#counts = counts;
  }

  /** Whether the rank steps when others of its unit do, work of its own or not. */
  get joinsSteps(): boolean {
    return this.#place.placement !== undefined;
  }

  get stats(): EngineStats {
    return { ...this.core.stats, ...this.#counts?.() };
  }

  /** The unit's experts lie so from the first step on for which all its ranks have been told. */
  place(version: number, placement: Placement): void {
    this.#experts?.learn(version, placement);
  }

  /**
   * Takes in what the partners of hand-overs send, each until it is lost. Rejects when a rank of the
   * own unit is lost, or with what a partner should not have sent.
   */
  async listen(onTransfer: () => void): Promise<void> {
    const failed = new Promise<never>((_, reject) => {
      this.#meet = (ranks) => {
        for (const rank of ranks) {
          if (!this.#met.has(rank)) this.#hear(rank, onTransfer).catch(reject);
          this.#met.add(rank);
        }
      };
    });
    this.#meet(this.#place.partners);
    await Promise.race([failed, this.#unitLost]);
  }

  /** Listens to more partners, once it listens. */
  meet(ranks: readonly number[]): void {
    this.#meet(ranks);
  }

  async #hear(rank: number, onTransfer: () => void): Promise<void> {
    for (;;) {
      let transfer: Uint8Array;
      try {
        transfer = await this.#transport.receive(rank, channels.transfer);
      } catch (error) {
        if (!(error instanceof PeerLostError)) throw error;
        this.core.lose(rank, error.message);
        onTransfer();
        return;
      }
      this.core.receive(rank, transfer);
      onTransfer();
    }
  }
}
