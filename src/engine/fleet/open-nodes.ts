import {
  clusterSecret,
  defaultFailureTimeoutMs,
  generateSecret,
  openCluster,
  systemClock,
  type ClusterHandlers,
  type ClusterIdentity,
  type NodeMesh,
} from "../../cluster/index.ts";
import { ChildNodes } from "./child-nodes.ts";
import type { NodeOptions } from "./fleet-plan.ts";
import type { NodeProcessOptions } from "./node-process.ts";

/** The other nodes of a cluster, which are waited for or started on this machine. */
export interface OtherNodes {
  readonly mesh: NodeMesh;
  close(): Promise<void>;
}

/** Resolves when so many nodes are there, this one included. Others may join later, or again. */
export async function openNodes(
  count: number,
  { await: awaited, failureTimeoutMs = defaultFailureTimeoutMs, wire }: NodeOptions,
  identity: ClusterIdentity,
  handlers: ClusterHandlers,
  child: Omit<NodeProcessOptions, "coordinator" | "secret" | "failureTimeoutMs" | "wire">,
): Promise<OtherNodes> {
  const secret = generateSecret();
  const gaveUp = new AbortController();
  let children: ChildNodes | undefined;
  const opened = await openCluster({
    nodes: count,
    secret: awaited?.secret ?? clusterSecret(secret),
    listen: awaited?.listen ?? { host: "127.0.0.1", port: 0 },
    ...{ identity, failureTimeoutMs, wire },
    signal: gaveUp.signal,
    ...(awaited?.refused && { refused: awaited.refused }),
    ...(awaited?.model !== undefined && { model: awaited.model }),
    handlers: {
      ...handlers,
      lost: (node, reason, mesh) => {
        children?.lost(node);
        handlers.lost?.(node, reason, mesh);
      },
    },
  });
  if (awaited) awaited.listening?.(opened.address.port);
  else {
    const options = { ...child, coordinator: opened.address, secret, failureTimeoutMs, wire };
    children = new ChildNodes(options, systemClock);
    // Once the cluster has formed nobody hears of it.
    children.start(count - 1, () => gaveUp.abort());
  }
  const close = async () => children?.close();
  try {
    const mesh = await opened.formed;
    return {
      mesh,
      close: async () => {
        await mesh.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
