import { setTimeout } from "node:timers/promises";
import {
  joinCluster,
  type Address,
  type ClusterSecret,
  type ListenAddress,
  type NodeMesh,
} from "../../cluster/index.ts";
import type { Policy, WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import { fleetIdentity, ReadIdentity } from "./fleet-identity.ts";
import { NodeRanks, type NodeRanksOptions } from "./node-ranks.ts";
import { nodeQuestionSchema, orderSchema, parseBody, type NodeNews } from "./node-messages.ts";
import { EngineError } from "./rank-handle.ts";

export interface JoinedNodeOptions {
  readonly coordinator: Address;
  readonly secret: ClusterSecret;
  readonly modelDirectory: string;
  /** What of it the identity is told from, as the coordinator does. */
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  readonly policy: Policy;
  /** Where other nodes reach this one; by default on all addresses, on a free port. */
  readonly listen?: ListenAddress;
  /** The host that others dial, if not the one the coordinator sees this node come from. */
  readonly advertisedHost?: string;
  readonly failureTimeoutMs?: number;
  /** Told when the node is part of the cluster. */
  readonly joined?: (node: number, nodes: number) => void;
}

/**
 * Computes for another node's engine. Resolves when that engine closes; rejects when this node is
 * refused, or has lost the coordinator.
 */
export async function serveNode(options: JoinedNodeOptions): Promise<void> {
  const { modelDirectory, modelBytes, weights, policy, joined, ...join } = options;
  const identity = new ReadIdentity(modelDirectory, modelBytes);
  const node = new JoinedNode({ modelDirectory, identity, weights });
  const mesh = await joinCluster({
    ...join,
    identity: fleetIdentity(await identity.get(), policy),
    handlers: {
      asked: (body, _from, asker) => node.answer(body, asker),
      told: (body, from) => node.obey(body, from),
      lost: (lost, reason, loser) => node.lose(lost, reason, loser),
    },
  });
  joined?.(mesh.node, mesh.nodes);
  try {
    await node.ended;
  } finally {
    await Promise.race([node.close(), setTimeout(CLOSE_MS, undefined, { ref: false })]);
    await mesh.close();
  }
}

/** A rank's thread that is inside the kernel, as on a dead mount, does not end: so long it may take. */
const CLOSE_MS = 5000;

type OwnModel = Pick<NodeRanksOptions, "modelDirectory" | "identity" | "weights">;

class JoinedNode {
  readonly ended: Promise<void>;
  readonly #own: OwnModel;
  #ranks: NodeRanks | undefined;
  #end!: () => void;
  #fail!: (error: Error) => void;

  constructor(own: OwnModel) {
    this.#own = own;
    this.ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    this.ended.catch(() => undefined);
  }

  async answer(body: unknown, mesh: NodeMesh): Promise<unknown> {
    const question = parseBody(body, nodeQuestionSchema);
    if (question.kind === "rank") {
      return this.#started().rank(question.rank).ask(question.question);
    }
    if (this.#ranks) throw new EngineError("this node has started its ranks already");
    this.#ranks = await NodeRanks.start({
      plan: question.plan,
      ...this.#own,
      mesh,
      listener: {
        heard: (rank, news) => tell(mesh, { kind: "said", rank, news }),
        lost: (rank, reason, isOwnFault) => tell(mesh, { kind: "lost", rank, reason, isOwnFault }),
      },
    });
    const ranks = this.#ranks;
    return ranks.ranks.map((rank) => ranks.rank(rank).limits);
  }

  obey(body: unknown, from: number): void {
    if (from !== 0) throw new EngineError("only the coordinator gives orders");
    const order = parseBody(body, orderSchema);
    if (order.kind === "close") this.#end();
    else this.#started().rank(order.rank).tell(order.command);
  }

  lose(node: number, reason: string, mesh: NodeMesh): void {
    if (node === 0) this.#fail(new EngineError(`the coordinator is lost: ${reason}`));
    else tell(mesh, { kind: "unreachable", node, reason });
  }

  async close(): Promise<void> {
    await this.#ranks?.close();
  }

  #started(): NodeRanks {
    if (this.#ranks) return this.#ranks;
    throw new EngineError("this node has not started its ranks");
  }
}

/** A coordinator that is gone hears nothing more, and needs nothing more. */
function tell(mesh: NodeMesh, news: NodeNews): void {
  if (mesh.connected.includes(0)) mesh.tell(0, news);
}
