import {
  HandshakeError,
  inTime,
  joinCluster,
  parseBody,
  systemClock,
  type Address,
  type ClusterSecret,
  type Door,
  type ListenAddress,
  type NodeMesh,
  type WireRate,
} from "../../cluster/index.ts";
import type { Policy, WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import { backOffMs } from "./back-off.ts";
import { fleetIdentity, ReadIdentity } from "./fleet-identity.ts";
import { NodeRanks, type NodeRanksOptions } from "./node-ranks.ts";
import { nodeQuestionSchema, orderSchema, type NodeNews } from "./node-messages.ts";
import { EngineError } from "./rank-handle.ts";

export interface JoinedNodeOptions {
  readonly coordinator: Address;
  readonly secret: ClusterSecret;
  readonly modelDirectory: string;
  /** What of it the identity is told from, as the coordinator does. */
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  readonly policy: Policy;
  /** Where other nodes reach this one; by default on all addresses, on a free port. */
  readonly listen?: ListenAddress | Door;
  /** For which of the coordinator's models it computes, where there are several. */
  readonly model?: string;
  /** The host that others dial, if not the one the coordinator sees this node come from. */
  readonly advertisedHost?: string;
  readonly failureTimeoutMs?: number;
  /** Emulated: what this node sends to others passes it. */
  readonly wire?: WireRate | undefined;
  /** Tries again where there is no coordinator, or none any more; else that ends the node. */
  readonly rejoin?: RejoinOptions;
  /** The node computes until its cluster closes, but joins none any more. */
  readonly leaving?: AbortSignal;
  /** Told when the node has become part of a cluster, and again when it has rejoined. */
  readonly joined?: (node: number) => void;
}

export interface RejoinOptions {
  /** Milliseconds that a node whose coordinator is lost waits for one. The first is waited for without end. */
  readonly timeoutMs: number;
  /** Told why the node is in no cluster, each time before it tries again. */
  readonly retrying: (reason: string) => void;
}

/**
 * Computes for another node's engine. Resolves when that engine closes, or when the node is leaving and
 * in no cluster; rejects when it is refused, or has no coordinator and is not to wait for one.
 */
export async function serveNode(options: JoinedNodeOptions): Promise<void> {
  const { modelDirectory, modelBytes, policy, rejoin, leaving } = options;
  const identity = new ReadIdentity(modelDirectory, modelBytes);
  const common = fleetIdentity(await identity.get(), policy);
  let deadline = Infinity;
  for (let tries = 1; ; tries++) {
    if (leaving?.aborted) return;
    try {
      const node = new JoinedNode({ ...options, identity });
      const mesh = await join(options, common, node);
      deadline = Infinity;
      tries = 0;
      options.joined?.(mesh.node);
      return await node.serve(mesh);
    } catch (error) {
      if (!(error instanceof AloneError)) throw error;
      if (leaving?.aborted) return;
      if (!rejoin) throw error;
      const now = systemClock.now();
      if (error.wasTogether) deadline = now + rejoin.timeoutMs;
      if (now >= deadline) throw error;
      rejoin.retrying(error.message);
      await pause(Math.min(backOffMs(Math.max(1, tries)), deadline - now), leaving);
    }
  }
}

/** The node has no coordinator, which another try may mend. */
class AloneError extends EngineError {
  readonly wasTogether: boolean;

  constructor(message: string, wasTogether: boolean) {
    super(message);
    this.wasTogether = wasTogether;
  }
}

async function join(
  options: JoinedNodeOptions,
  identity: ReturnType<typeof fleetIdentity>,
  node: JoinedNode,
): Promise<NodeMesh> {
  const { leaving } = options;
  try {
    return await joinCluster({
      ...options,
      ...(leaving && { signal: leaving }),
      identity,
      handlers: {
        asked: (body, _from, asker) => node.answer(body, asker),
        told: (body, from) => node.obey(body, from),
        lost: (lost, reason, loser) => node.lose(lost, reason, loser),
      },
    });
  } catch (error) {
    // Its own address is what cannot be listened at.
    if (error instanceof HandshakeError || (error as NodeJS.ErrnoException).code) throw error;
    throw new AloneError((error as Error).message, false);
  }
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      cancel();
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const cancel = systemClock.after(milliseconds, over);
    signal?.addEventListener("abort", over);
  });
}

/** A rank's thread that is inside the kernel, as on a dead mount, does not end: so long it may take. */
const CLOSE_MS = 5000;

type OwnModel = Pick<NodeRanksOptions, "modelDirectory" | "identity" | "weights" | "packed">;

/** A node in one cluster: what it is asked and told there, and its ranks. */
class JoinedNode {
  readonly #own: OwnModel;
  readonly #ended: Promise<void>;
  #ranks: NodeRanks | undefined;
  #end!: () => void;
  #fail!: (error: Error) => void;

  constructor({ modelDirectory, identity, weights, packed }: OwnModel) {
    this.#own = { modelDirectory, identity, weights, packed };
    this.#ended = new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    this.#ended.catch(() => undefined);
  }

  /** Until the cluster closes; rejects when the coordinator is lost. */
  async serve(mesh: NodeMesh): Promise<void> {
    const lost = await this.#ended.then(
      () => undefined,
      (error: Error) => error,
    );
    const late = () => new EngineError(`its ranks have not ended within ${CLOSE_MS} ms`);
    const stuck = await inTime(this.#close(), systemClock, CLOSE_MS, late).then(
      () => undefined,
      (error: Error) => error,
    );
    await mesh.close();
    // After an orderly end the process ends too, whatever its threads do; to rejoin they must be gone.
    if (lost) throw stuck ?? lost;
  }

  async answer(body: unknown, mesh: NodeMesh): Promise<unknown> {
    const question = parseBody(body, nodeQuestionSchema);
    this.#ranks ??= new NodeRanks({
      ...this.#own,
      mesh,
      listener: {
        heard: (rank, news) => tell(mesh, { kind: "said", rank, news }),
        lost: (rank, reason, isOwnFault) => tell(mesh, { kind: "lost", rank, reason, isOwnFault }),
      },
    });
    if (question.kind === "start") return this.#ranks.start(question.launch);
    if (question.kind === "end") {
      await this.#ranks.end(question.ranks, question.isLost);
      return null;
    }
    const worker = this.#ranks.rank(question.rank);
    if (!worker) throw new EngineError(`rank ${question.rank} has ended`);
    return worker.ask(question.question);
  }

  obey(body: unknown, from: number): void {
    if (from !== 0) throw new EngineError("only the coordinator gives orders");
    const order = parseBody(body, orderSchema);
    if (order.kind === "close") this.#end();
    // One that has ended meanwhile needs no commands.
    else this.#ranks?.rank(order.rank)?.tell(order.command);
  }

  lose(node: number, reason: string, mesh: NodeMesh): void {
    if (node === 0) this.#fail(new AloneError(`the coordinator is lost: ${reason}`, true));
    else tell(mesh, { kind: "unreachable", node, reason });
  }

  async #close(): Promise<void> {
    await this.#ranks?.close();
  }
}

/** A coordinator that is gone hears nothing more, and needs nothing more. */
function tell(mesh: NodeMesh, news: NodeNews): void {
  if (mesh.connected.includes(0)) mesh.tell(0, news);
}
