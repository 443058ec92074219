import { inTime, parseTopology, systemClock, type NodeMesh } from "../../cluster/index.ts";
import type { WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import type { EngineLimits } from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import { expectMemory } from "./expect-memory.ts";
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
  parseBody,
  startedSchema,
  type NodeOrder,
  type NodeQuestion,
} from "./node-messages.ts";
import { NodeRanks } from "./node-ranks.ts";
import { openNodes, type OtherNodes } from "./open-nodes.ts";
import { EngineError, type FleetListener, type RankFleet, type RankHandle } from "./rank-handle.ts";
import { RemoteRank } from "./remote-rank.ts";
import { UnitTable, type UnitLife, type WantedUnits } from "./unit-table.ts";

export interface FleetOptions {
  readonly plan: FleetPlan;
  readonly modelDirectory: string;
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  readonly nodes: NodeOptions;
  readonly listener: FleetListener;
  /** Where the experts of a unit lie that is started later; null where each rank has all of them. */
  readonly place: (unit: UnitLife) => Placement | null;
}

/** Milliseconds that the ranks of a unit have to end. */
const END_MS = 10_000;
/** Milliseconds that a drained unit has for blocks not yet in the context cache. */
const FLUSH_MS = 10_000;

/** All ranks of the cluster, of this process and of others. This node is its coordinator. */
export class Fleet implements RankFleet {
  readonly #options: FleetOptions;
  readonly #identity: ReadIdentity;
  readonly #table: UnitTable;
  readonly #handles: RankHandle[] = [];
  /** The node of each rank that there is or was. */
  readonly #nodeOf = new Map<number, number>();
  readonly #lost = new Set<number>();
  /** Of units that end as they were told to. */
  readonly #dismissed = new Set<number>();
  /** Starts follow one another, so that each knows what memory is left. */
  #starting: Promise<void> = Promise.resolve();
  #cancelRetry: () => void = () => undefined;
  #others: OtherNodes | undefined;
  #own: NodeRanks | undefined;
  #hasBegun = false;
  #closed = false;

  /** Resolves when every rank has opened the model; rejects with what is wrong. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const { plan, modelDirectory, weights, packed, nodes } = options;
    const ranks = plan.nodeOfRank.length;
    // Other machines look after themselves.
    if (!nodes.await) {
      await expectMemory({
        ...{ ranks, modelDirectory, weights, packed },
        kvMemoryBytes: plan.kvMemoryBytes,
        nodes: new Set(plan.nodeOfRank).size,
      });
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
    this.#table = new UnitTable({
      ...{ topology: parseTopology(plan.topology), nodes: plan.nodes },
      sharesExperts: plan.placements.some((placement) => placement !== null),
    });
    this.#table.join(0);
  }

  get ranks(): readonly RankHandle[] {
    return this.#handles;
  }

  get units(): readonly UnitLife[] {
    return this.#table.units;
  }

  get problems(): readonly string[] {
    return this.#table.problems;
  }

  get recovers(): boolean {
    return !this.#table.isHopeless && !this.#closed;
  }

  scale(wanted: WantedUnits): void {
    this.#table.scale(wanted);
    this.#act();
  }

  drained(unit: number): void {
    this.#table.drained(unit);
    this.#act();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
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
        joined: (node: number) => this.#join(node),
        lost: (node: number, reason: string) => this.#loseNode(node, reason),
        told: (body: unknown, from: number, mesh: NodeMesh) => this.#hear(body, from, mesh),
      };
      const child = { modelDirectory, modelBytes, weights, packed, policy };
      this.#others = await openNodes(count, nodes, identity, handlers, child);
    }
    this.#own = new NodeRanks({
      ...{ modelDirectory, identity: this.#identity, weights, packed, mesh: this.#others?.mesh },
      listener: {
        heard: (rank, news) => this.#options.listener.heard(rank, news),
        lost: (rank, reason, isOwnFault) => this.#lose(rank, reason, isOwnFault),
      },
    });
    const first = this.#table
      .act(systemClock.now())
      .flatMap((action) => (action.kind === "start" ? action.units : []));
    await this.#launch(
      first,
      first.map((_, index) => plan.placements[index]),
    );
    if (
      !first.every(({ unit }) => this.#table.started(unit, systemClock.now())) ||
      first.length < plan.placements.length
    ) {
      throw new EngineError("a rank was lost while the others started");
    }
    this.#hasBegun = true;
    this.#act();
  }

  /** What the table says is to be done is begun. */
  #act(): void {
    if (!this.#hasBegun || this.#closed) return;
    const { listener } = this.#options;
    const now = systemClock.now();
    for (const action of this.#table.act(now)) {
      if (action.kind === "start") {
        const { units } = action;
        this.#starting = this.#starting.then(() => this.#start(units));
      } else if (action.kind === "drain") listener.draining(action.unit.unit);
      else void this.#end(action.unit);
    }
    this.#cancelRetry();
    const wait = this.#table.nextAct(now) - now;
    if (wait < Infinity) this.#cancelRetry = systemClock.after(wait, () => this.#act());
    listener.changed();
    if (this.#table.isHopeless) listener.hopeless(this.problems.join("; "));
  }

  async #start(units: readonly UnitLife[]): Promise<void> {
    if (this.#closed) return;
    const { listener, place } = this.#options;
    const placements = units.map((unit) => place(unit));
    let problem = "a rank was lost while the others started";
    const launched = await this.#launch(units, placements).then(
      () => true,
      (error: Error) => {
        problem = error.message;
        return false;
      },
    );
    const now = systemClock.now();
    for (const [index, life] of units.entries()) {
      if (launched && this.#table.started(life.unit, now)) {
        this.#introduce(life);
        listener.serving({ life, placement: placements[index] });
      } else this.#table.failed(life.unit, problem, now);
    }
    this.#act();
  }

  /** All nodes learn of the ranks, and start those that are theirs. */
  async #launch(
    units: readonly UnitLife[],
    placements: readonly (Placement | null)[],
  ): Promise<void> {
    const launch: Launch = {
      settings: settingsOf(this.#options.plan),
      units: units.map(({ role, ranks }, index) => ({
        ranks: [...ranks],
        placement: placements[index]?.map((layer) => [...layer]) ?? null,
        partners: partnersOf(role, this.#table.units),
      })),
      ranks: this.#table.units.flatMap(({ ranks }) => ranks),
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

  async #startOn(node: number, launch: Launch): Promise<EngineLimits[]> {
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

  /** Ranks of other units learn with whom they may now exchange sequences. */
  #introduce({ unit, role, ranks }: UnitLife): void {
    const others = this.#table.units.filter((each) => each.unit !== unit);
    const met = ranks.map(({ rank }) => rank);
    for (const partner of partnersOf(role, others)) {
      this.#handles[partner]?.tell({ kind: "meet", ranks: met });
    }
  }

  async #end({ unit, state, ranks }: UnitLife): Promise<void> {
    const isLost = state === "lost";
    if (!isLost) {
      for (const { rank } of ranks) this.#dismissed.add(rank);
      await this.#flush(ranks.map(({ rank }) => rank));
    }
    const late = () => new EngineError(`not within ${END_MS} ms`);
    await Promise.all(
      [...new Set(ranks.map(({ node }) => node))].map((node) => {
        const theirs = ranks.filter((each) => each.node === node).map(({ rank }) => rank);
        // A node that is gone has ended them; one that cannot is no better after more time.
        return inTime(this.#endOn(node, theirs, isLost), systemClock, END_MS, late).catch(
          () => undefined,
        );
      }),
    );
    this.#table.ended(unit);
    this.#act();
  }

  async #endOn(node: number, ranks: number[], isLost: boolean): Promise<void> {
    if (node === 0) return this.#own?.end(ranks, isLost);
    const question: NodeQuestion = { kind: "end", ranks, isLost };
    await this.#others?.mesh.ask(node, question);
  }

  async #flush(ranks: readonly number[]): Promise<void> {
    if (!this.#options.plan.contextCache) return;
    const flushed = Promise.allSettled(ranks.map((rank) => this.#handles[rank].ask("flush")));
    await inTime(flushed, systemClock, FLUSH_MS, () => new EngineError("late")).catch(
      () => undefined,
    );
  }

  #join(node: number): void {
    this.#table.join(node);
    this.#act();
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
    this.#table.leave(node);
    for (const [rank, on] of this.#nodeOf) {
      if (on === node) this.#lose(rank, `node ${node} is lost: ${reason}`, false);
    }
    this.#act();
  }

  #lose(rank: number, reason: string, isOwnFault: boolean): void {
    if (this.#lost.has(rank)) return;
    this.#lost.add(rank);
    // A rank that ends while it starts fails the start, and nobody has it yet.
    const isKnown = this.#handles[rank] !== undefined && !this.#dismissed.has(rank);
    this.#table.lose(rank, systemClock.now());
    if (isKnown) this.#options.listener.lost(rank, reason, isOwnFault);
    this.#act();
  }
}

const closing: NodeOrder = { kind: "close" };
