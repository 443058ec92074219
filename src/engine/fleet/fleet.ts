import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  clusterSecret,
  defaultFailureTimeoutMs,
  generateSecret,
  openCluster,
  type NodeMesh,
} from "../../cluster/index.ts";
import type { WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import { expectMemory } from "./expect-memory.ts";
import { fleetIdentity, ReadIdentity } from "./fleet-identity.ts";
import type { FleetPlan, NodeOptions } from "./fleet-plan.ts";
import {
  statsSchema,
  type EngineLimits,
  type EngineStats,
  type RankCommand,
  type RankQuestion,
} from "../messages.ts";
import {
  nodeNewsSchema,
  parseBody,
  startedSchema,
  type NodeOrder,
  type NodeQuestion,
} from "./node-messages.ts";
import type { NodeProcessOptions } from "./node-process.ts";
import { NodeRanks } from "./node-ranks.ts";
import { EngineError, type RankFleet, type RankHandle, type RankListener } from "./rank-handle.ts";

export interface FleetOptions {
  readonly plan: FleetPlan;
  readonly modelDirectory: string;
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  readonly nodes: NodeOptions;
  readonly listener: RankListener;
}

/** All ranks of the cluster, of this process and of others. This node is its coordinator. */
export class Fleet implements RankFleet {
  readonly #plan: FleetPlan;
  /** The nodes that have joined, in the order of their numbers. */
  readonly #joined = new Set<number>([0]);
  /** The node of each rank, once the nodes have their numbers. */
  #nodeOfRank: readonly number[] = [];
  readonly #modelDirectory: string;
  readonly #modelBytes: HashedBytes;
  readonly #identity: ReadIdentity;
  readonly #weights: Pick<FleetOptions, "weights" | "packed">;
  readonly #listener: RankListener;
  readonly #lost = new Set<number>();
  readonly #processes: ChildProcess[] = [];
  readonly #handles: RankHandle[] = [];
  #mesh: NodeMesh | undefined;
  #own: NodeRanks | undefined;

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
      if (Math.max(...options.plan.nodeOfRank) > 0) fleet.#mesh = await fleet.#form(options.nodes);
      await fleet.#startRanks();
      return fleet;
    } catch (error) {
      await fleet.close();
      throw error;
    }
  }

  private constructor(options: FleetOptions) {
    const { plan, modelDirectory, modelBytes, weights, packed, listener } = options;
    this.#modelBytes = modelBytes;
    this.#identity = new ReadIdentity(modelDirectory, modelBytes);
    this.#plan = plan;
    this.#modelDirectory = modelDirectory;
    this.#weights = { weights, packed };
    this.#listener = listener;
  }

  /** By number. */
  get ranks(): readonly RankHandle[] {
    return this.#handles;
  }

  async close(): Promise<void> {
    for (const node of this.#mesh?.connected ?? []) this.#mesh?.tell(node, closing);
    await this.#own?.close();
    await this.#mesh?.close();
    await Promise.all(this.#processes.map(endProcess));
  }

  async #form(nodes: NodeOptions): Promise<NodeMesh> {
    const { await: awaited, failureTimeoutMs = defaultFailureTimeoutMs } = nodes;
    const count = Math.max(...this.#plan.nodeOfRank) + 1;
    const secret = generateSecret();
    const gaveUp = new AbortController();
    const opened = await openCluster({
      nodes: count,
      secret: awaited?.secret ?? clusterSecret(secret),
      listen: awaited?.listen ?? { host: "127.0.0.1", port: 0 },
      identity: fleetIdentity(await this.#identity.get(), this.#plan.policy),
      failureTimeoutMs,
      signal: gaveUp.signal,
      ...(awaited?.refused && { refused: awaited.refused }),
      handlers: {
        joined: (node) => this.#joined.add(node),
        told: (body, from, mesh) => this.#hear(body, from, mesh),
        lost: (node, reason) => {
          this.#joined.delete(node);
          this.#loseNode(node, reason);
        },
      },
    });
    if (awaited) {
      awaited.listening?.(opened.address.port);
      return opened.formed;
    }
    const options: NodeProcessOptions = {
      coordinator: opened.address,
      secret,
      modelDirectory: this.#modelDirectory,
      modelBytes: this.#modelBytes,
      ...this.#weights,
      policy: this.#plan.policy,
      failureTimeoutMs,
    };
    for (let node = 1; node < count; node++) {
      const child = startProcess(options);
      for (const end of ["exit", "error"]) child.once(end, () => gaveUp.abort());
      this.#processes.push(child);
    }
    return opened.formed;
  }

  async #startRanks(): Promise<void> {
    const nodes = [...this.#joined];
    this.#nodeOfRank = this.#plan.nodeOfRank.map((seat) => nodes[seat]);
    const plan = { ...this.#plan, nodeOfRank: [...this.#nodeOfRank] };
    const [own] = await Promise.all([
      NodeRanks.start({
        plan,
        modelDirectory: this.#modelDirectory,
        identity: this.#identity,
        ...this.#weights,
        mesh: this.#mesh,
        listener: {
          heard: (rank, news) => this.#listener.heard(rank, news),
          lost: (rank, reason, isOwnFault) => this.#lose(rank, reason, isOwnFault),
        },
      }).then((ranks) => (this.#own = ranks)),
      ...[...new Set(this.#nodeOfRank)].flatMap((node) =>
        node === 0 ? [] : this.#startNode(node, plan),
      ),
    ]);
    for (const rank of own.ranks) this.#handles[rank] = own.rank(rank);
    if (this.#lost.size > 0 || this.#handles.length < plan.nodeOfRank.length) {
      throw new EngineError("a rank was lost while the others started");
    }
  }

  async #startNode(node: number, plan: FleetPlan): Promise<void> {
    const mesh = this.#mesh as NodeMesh;
    const { nodeOfRank } = plan;
    const ranks = [...nodeOfRank.keys()].filter((rank) => nodeOfRank[rank] === node);
    const start: NodeQuestion = { kind: "start", plan };
    const answer = await mesh.ask(node, start).catch((error: Error) => {
      throw new EngineError(`node ${node}: ${error.message}`);
    });
    const limits = parseBody(answer, startedSchema);
    for (const [index, rank] of ranks.entries()) {
      this.#handles[rank] = new RemoteRank(mesh, node, rank, limits[index]);
    }
  }

  /** An error thrown here cuts the link to the node. */
  #hear(body: unknown, from: number, mesh: NodeMesh): void {
    const news = parseBody(body, nodeNewsSchema);
    if (news.kind === "unreachable") {
      // Its ranks cannot reach each other: one of the two nodes has to go.
      mesh.cut(news.node, `node ${from} has lost it: ${news.reason}`);
      return;
    }
    if (this.#nodeOfRank[news.rank] !== from) {
      throw new RangeError(`rank ${news.rank} is not on node ${from}`);
    }
    if (news.kind === "lost") this.#lose(news.rank, news.reason, news.isOwnFault);
    else this.#listener.heard(news.rank, news.news);
  }

  #loseNode(node: number, reason: string): void {
    for (const [rank, on] of this.#nodeOfRank.entries()) {
      if (on === node) this.#lose(rank, `node ${node} is lost: ${reason}`, false);
    }
  }

  #lose(rank: number, reason: string, isOwnFault: boolean): void {
    if (this.#lost.has(rank)) return;
    this.#lost.add(rank);
    this.#listener.lost(rank, reason, isOwnFault);
  }
}

const closing: NodeOrder = { kind: "close" };

/** A rank of another node. */
class RemoteRank implements RankHandle {
  readonly limits: EngineLimits;
  readonly #mesh: NodeMesh;
  readonly #node: number;
  readonly #rank: number;

  constructor(mesh: NodeMesh, node: number, rank: number, limits: EngineLimits) {
    this.limits = limits;
    this.#mesh = mesh;
    this.#node = node;
    this.#rank = rank;
  }

  tell(command: RankCommand): void {
    if (!this.#mesh.connected.includes(this.#node)) return;
    const order: NodeOrder = { kind: "command", rank: this.#rank, command };
    this.#mesh.tell(this.#node, order);
  }

  async ask(question: RankQuestion): Promise<EngineStats> {
    const asked: NodeQuestion = { kind: "rank", rank: this.#rank, question };
    return parseBody(await this.#mesh.ask(this.#node, asked), statsSchema);
  }
}

function startProcess(options: NodeProcessOptions): ChildProcess {
  const child = fork(new URL("./node-process.js", import.meta.url), { stdio: "inherit" });
  // A child that ended early takes no message; its exit is what is heard of it.
  child.send(options, () => undefined);
  return child;
}

/** It ends by itself once told; killed if it does not within a second. */
async function endProcess(child: ChildProcess): Promise<void> {
  if (!child.pid || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  const late = setTimeout(() => child.kill("SIGKILL"), 1000);
  await ended;
  clearTimeout(late);
}
