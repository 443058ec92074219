import {
  inTime,
  parseBody,
  parseTopology,
  settleInTime,
  type Clock,
  type NodeMesh,
  type RankNode,
} from "../../cluster/index.ts";
import type { WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import type { EngineLimits } from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import { expectMemory, roomForRanks, weightBytes } from "./expect-memory.ts";
import { fleetIdentity, ReadIdentity } from "./fleet-identity.ts";
import {
  partnersOf,
  settingsOf,
  type FleetPlan,
  type Launch,
  type NodeOptions,
} from "./fleet-plan.ts";
import {
  nodeNewsSchema,
  startedSchema,
  type NodeOrder,
  type NodeQuestion,
} from "./node-messages.ts";
import { NodeRanks } from "./node-ranks.ts";
import { openNodes, type OtherNodes } from "./open-nodes.ts";
import { EngineError, type FleetListener, type RankFleet, type RankHandle } from "./rank-handle.ts";
import { RemoteRank } from "./remote-rank.ts";
import { UnitKeeper, type UnitHands, type UnitKeeperOptions } from "./unit-keeper.ts";
import type { UnitLife, WantedUnits } from "./unit-table.ts";

export interface FleetOptions {
  readonly plan: FleetPlan;
  readonly modelDirectory: string;
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  readonly nodes: NodeOptions;
  readonly listener: FleetListener;
  readonly place: UnitKeeperOptions["place"];
  /** For deadlines, and for trying again. */
  readonly clock: Clock;
}

/** Milliseconds that a node has to start ranks, and what it may read of weights in one more. */
const START_MS = 600_000;
const SLOWEST_BYTES_PER_MS = 50_000;

/** Milliseconds that the ranks of a unit have to end. */
export const END_MS = 10_000;
/** Milliseconds that a drained unit has to hand over sequences, and for blocks not yet in the context cache. */
const SETTLE_MS = 10_000;
/** Milliseconds between two looks whether it has. */
const LOOK_MS = 20;

/** All ranks of the cluster, of this process and of others. This node is its coordinator. */
export class Fleet implements RankFleet, UnitHands {
  readonly #options: FleetOptions;
  readonly #identity: ReadIdentity;
  readonly #keeper: UnitKeeper;
  readonly #handles: RankHandle[] = [];
  /** The node of each rank that there is or was. */
  readonly #nodeOf = new Map<number, number>();
  readonly #lost = new Set<number>();
  /** Of units that end as they were told to. */
  readonly #dismissed = new Set<number>();
  #others: OtherNodes | undefined;
  #own: NodeRanks | undefined;

  /** Resolves when every rank has opened the model; rejects with what is wrong. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { plan, modelDirectory, weights, packed, nodes } = options;
    const ranks = plan.nodeOfRank.length;
    // Other machines look after themselves.
    if (!nodes.await) {
      const { kvMemoryBytes } = plan;
      const own = { ranks, kvMemoryBytes, nodes: new Set(plan.nodeOfRank).size };
      await expectMemory([{ ...own, modelDirectory, weights, packed }]);
    }
    const fleet = new Fleet(options);
    try {
      await fleet.#begin();
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  private constructor(options: FleetOptions) {
    const { plan, modelDirectory, modelBytes } = options;
    this.#options = options;
    this.#identity = new ReadIdentity(modelDirectory, modelBytes);
    this.#keeper = new UnitKeeper({
      ...{ topology: parseTopology(plan.topology), nodes: plan.nodes },
      sharesExperts: plan.placements.some((placement) => placement !== null),
      ...{ hands: this, listener: options.listener, clock: options.clock, place: options.place },
    });
    this.#keeper.join(0);
  }

  get ranks(): readonly RankHandle[] {
    return this.#handles;
  }

  get units(): readonly UnitLife[] {
    return this.#keeper.units;
  }

  get wanted(): WantedUnits {
    return this.#keeper.wanted;
  }

  get room(): number {
    const { plan, nodes } = this.#options;
    return nodes.await ? Infinity : roomForRanks(plan.kvMemoryBytes);
  }

  get problems(): readonly string[] {
    return this.#keeper.problems;
  }

  get recovers(): boolean {
    return this.#keeper.recovers;
  }

  scale(wanted: WantedUnits): void {
    this.#keeper.scale(wanted);
  }

  drained(unit: number): void {
    this.#keeper.drained(unit);
  }

  async close(): Promise<void> {
    this.#keeper.close();
    const mesh = this.#others?.mesh;
    for (const node of mesh?.connected ?? []) mesh?.tell(node, closing);
    await this.#own?.close();
    await this.#others?.close();
  }

  async #begin(): Promise<void> {
    const { plan, modelDirectory, modelBytes, weights, packed, nodes } = this.#options;
    const { policy } = plan;
    const count = Math.max(...plan.nodeOfRank) + 1;
    if (count > 1) {
      const identity = fleetIdentity(await this.#identity.get(), policy);
      const handlers = {
        joined: (node: number) => this.#keeper.join(node),
        lost: (node: number, reason: string) => this.#loseNode(node, reason),
        told: (body: unknown, from: number, mesh: NodeMesh) => this.#hear(body, from, mesh),
      };
      const child = { modelDirectory, modelBytes, weights, packed, policy };
      this.#others = await openNodes(count, nodes, identity, handlers, child);
    }
    this.#own = new NodeRanks({
      ...{ modelDirectory, identity: this.#identity, weights, packed, mesh: this.#others?.mesh },
      wire: this.#others ? undefined : nodes.wire,
      listener: {
        heard: (rank, news) => this.#options.listener.heard(rank, news),
        lost: (rank, reason, isOwnFault) => this.#lose(rank, reason, isOwnFault),
      },
    });
    await this.#keeper.begin(plan.placements);
  }

  /** All nodes learn of the ranks, and start those that are theirs. */
  async start(
    units: readonly UnitLife[],
    placements: readonly (Placement | null)[],
    all: readonly UnitLife[],
  ): Promise<void> {
    const launch: Launch = {
      settings: settingsOf(this.#options.plan),
      units: units.map(({ role, ranks }, index) => ({
        ranks: [...ranks],
        placement: placements[index]?.map((layer) => [...layer]) ?? null,
        partners: partnersOf(role, all),
      })),
      ranks: all.flatMap(({ ranks }) => ranks),
    };
    const launched = units.flatMap(({ ranks }) => ranks);
    for (const { rank, node } of launched) this.#nodeOf.set(rank, node);
    const nodes = new Set(launch.ranks.map(({ node }) => node));
    await Promise.all(
      [...nodes].map(async (node) => {
        const theirs = launched.filter((each) => each.node === node).map(({ rank }) => rank);
        const limits = await this.#startOn(node, launch).catch((error: Error) => {
          // A node that has no part in it may be gone.
          if (theirs.length === 0) return [];
          throw new EngineError(node === 0 ? error.message : `node ${node}: ${error.message}`);
        });
        for (const [index, rank] of theirs.entries()) {
          this.#handles[rank] = this.#handleOf(rank, node, limits[index]);
        }
      }),
    );
  }

  /** A node that lives but does not start its ranks is given up, so that others may have its place. */
  async #startOn(node: number, launch: Launch): Promise<EngineLimits[]> {
    const { modelDirectory, weights, packed, clock } = this.#options;
    const read = weights === "resident" ? await weightBytes(modelDirectory, packed) : 0;
    const milliseconds = START_MS + Math.ceil(read / SLOWEST_BYTES_PER_MS);
    const late = () => {
      const reason = `it has not started its ranks within ${Math.round(milliseconds / 1000)} s`;
      this.#others?.mesh.cut(node, reason);
      return new EngineError(reason);
    };
    return inTime(this.#askToStart(node, launch), clock, milliseconds, late);
  }

  async #askToStart(node: number, launch: Launch): Promise<EngineLimits[]> {
    if (node === 0) return (this.#own as NodeRanks).start(launch);
    const question: NodeQuestion = { kind: "start", launch };
    return parseBody(await this.#others?.mesh.ask(node, question), startedSchema);
  }

  #handleOf(rank: number, node: number, limits: EngineLimits): RankHandle {
    if (this.#others && node > 0) return new RemoteRank(this.#others.mesh, node, rank, limits);
    const worker = this.#own?.rank(rank);
    if (!worker) throw new EngineError("a rank was lost while the others started");
    return worker;
  }

  introduce({ role, ranks }: UnitLife, others: readonly UnitLife[]): void {
    const met = ranks.map(({ rank }) => rank);
    for (const partner of partnersOf(role, others)) {
      this.#handles[partner]?.tell({ kind: "meet", ranks: met });
    }
  }

  async end({ state, ranks }: UnitLife): Promise<void> {
    const { clock } = this.#options;
    const isLost = state === "lost";
    if (!isLost) {
      for (const { rank } of ranks) this.#dismissed.add(rank);
      await settleInTime(this.#settle(ranks), clock, SETTLE_MS);
    }
    await Promise.all(
      [...new Set(ranks.map(({ node }) => node))].map((node) => {
        const theirs = ranks.filter((each) => each.node === node).map(({ rank }) => rank);
        // A node that is gone has ended them; one that cannot is no better after more time.
        return settleInTime(this.#endOn(node, theirs, isLost), clock, END_MS);
      }),
    );
  }

  async #endOn(node: number, ranks: number[], isLost: boolean): Promise<void> {
    if (node === 0) return this.#own?.end(ranks, isLost);
    const question: NodeQuestion = { kind: "end", ranks, isLost };
    await this.#others?.mesh.ask(node, question);
  }

  /** What ranks have computed is handed over, and in the context cache. */
  async #settle(ranks: readonly RankNode[]): Promise<void> {
    await Promise.all(
      ranks.map(async ({ rank }) => {
        const handle = this.#handles[rank];
        for (;;) {
          const { waiting, running } = await handle.ask("stats");
          if (waiting + running === 0) break;
          await new Promise<void>((resolve) => this.#options.clock.after(LOOK_MS, resolve));
        }
        if (this.#options.plan.contextCache) await handle.ask("flush");
      }),
    );
  }

  /** An error thrown here cuts the link to the node. */
  #hear(body: unknown, from: number, mesh: NodeMesh): void {
    const news = parseBody(body, nodeNewsSchema);
    if (news.kind === "unreachable") {
      // Its ranks cannot reach each other: one of the two nodes has to go.
      mesh.cut(news.node, `node ${from} has lost it: ${news.reason}`);
      return;
    }
    if (this.#nodeOf.get(news.rank) !== from) {
      throw new RangeError(`rank ${news.rank} is not on node ${from}`);
    }
    if (news.kind === "lost") this.#lose(news.rank, news.reason, news.isOwnFault);
    else this.#options.listener.heard(news.rank, news.news);
  }

  #loseNode(node: number, reason: string): void {
    this.#keeper.leave(node);
    for (const [rank, on] of this.#nodeOf) {
      if (on === node) this.#lose(rank, `node ${node} is lost: ${reason}`, false);
    }
  }

  #lose(rank: number, reason: string, isOwnFault: boolean): void {
    if (this.#lost.has(rank)) return;
    this.#lost.add(rank);
    // A rank that ends while it starts fails the start, and nobody has it yet.
    const isKnown = this.#handles[rank] !== undefined && !this.#dismissed.has(rank);
    this.#keeper.lose(rank);
    if (isKnown) this.#options.listener.lost(rank, reason, isOwnFault);
  }
}

const closing: NodeOrder = { kind: "close" };
