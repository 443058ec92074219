import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type Clock, systemClock } from "./clock.ts";
import {
  type ClusterIdentity,
  type ClusterHandlers,
  clusterSecret,
  joinCluster,
  type JoinOptions,
  type NodeMesh,
  openCluster,
  type OpenOptions,
  RankRouter,
  RankTransport,
} from "./index.ts";
import type { Patience } from "./links/tls-socket.ts";

export const secret = clusterSecret("a secret of the tests");

export const identity: ClusterIdentity = {
  version: "0.1.0",
  modelBytes: "sample",
  modelHash: "calf",
  policy: "w8a16",
  bits: "common",
  numericsVersion: 1,
};

/** Longer than a busy machine gives a node no turn. */
const LONG_MS = 30_000;
export const patience: Patience = { milliseconds: LONG_MS, clock: systemClock };
/** For tests of silence. */
export const brief = { failureTimeoutMs: 500 };

const common = { secret, identity, failureTimeoutMs: LONG_MS };

/** On the loopback address, on a free port. */
export const openOptions = (nodes: number, more: Partial<OpenOptions> = {}): OpenOptions => ({
  ...common,
  nodes,
  listen: { host: "127.0.0.1", port: 0 },
  ...more,
});

export const joinOptions = (port: number, more: Partial<JoinOptions> = {}): JoinOptions => ({
  ...common,
  coordinator: { host: "127.0.0.1", port },
  listen: { host: "127.0.0.1", port: 0 },
  ...more,
});

/** All nodes of a cluster in this process, by number. */
export async function formCluster(
  nodes: number,
  handlers: ClusterHandlers = {},
  more: Pick<OpenOptions, "wire"> = {},
): Promise<NodeMesh[]> {
  const opened = await openCluster(openOptions(nodes, { handlers, ...more }));
  const joining = Array.from({ length: nodes - 1 }, () =>
    joinCluster(joinOptions(opened.address.port, { handlers, ...more })),
  );
  const meshes = await Promise.all([opened.formed, ...joining]);
  return meshes.sort((a, b) => a.node - b.node);
}

export interface RoutedRanks {
  readonly routers: readonly RankRouter[];
  /** By rank, all in this thread. */
  readonly transports: readonly RankTransport[];
}

export function routeRanks(
  meshes: readonly NodeMesh[],
  nodeOfRank: readonly number[],
): RoutedRanks {
  const places = nodeOfRank.map((node, rank) => ({ rank, node }));
  const routers = meshes.map((mesh) => {
    const router = new RankRouter({ mesh });
    router.add(places);
    return router;
  });
  const transports = nodeOfRank.map(
    (node, rank) => new RankTransport(routers[node].endpoint(rank)),
  );
  return { routers, transports };
}

/** A port of loopback that nobody listens at. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Rejects when a promise takes longer than some milliseconds: a test must not hang. */
export async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = delay(milliseconds, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`not within ${milliseconds} ms`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** A clock that moves when told. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  soon(callback: () => void): void {
    this.after(0, callback);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Moves on, calling what falls due on the way, in order and on time. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.at - b.at);
      if (!next || next.at > end) break;
      this.#now = Math.max(this.#now, next.at);
      this.#timers.delete(next);
      next.callback();
    }
    this.#now = end;
  }

  /** Moves on to the next callback; whether there is one. */
  advanceToNext(): boolean {
    const at = Math.min(...[...this.#timers].map((timer) => timer.at));
    if (at === Infinity) return false;
    this.advance(Math.max(0, at - this.#now));
    return true;
  }

  /** Moves on without calling anything, as for a process that was stopped. */
  freeze(milliseconds: number): void {
    this.#now += milliseconds;
  }
}
