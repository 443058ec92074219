/**
 * Another node of the cluster on this machine: a process that joins as `daysix node` does, told how
 * by its parent, and ends with it.
 */
import { clusterSecret, type Address, type WireRate } from "../../cluster/index.ts";
import type { Policy, WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes } from "../../model/index.ts";
import { serveNode } from "./joined-node.ts";

export interface NodeProcessOptions {
  readonly coordinator: Address;
  readonly secret: string;
  readonly modelDirectory: string;
  readonly modelBytes: HashedBytes;
  readonly weights: WeightMemory;
  /** The parent's, on the same machine. */
  readonly packed?: string | undefined;
  readonly policy: Policy;
  readonly failureTimeoutMs: number;
  readonly wire?: WireRate | undefined;
}

// A signal to the process group reaches the parent too, which first finishes what is live. It then
// tells this node to close; if it is gone, the channel to it is.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);
// Not by process.exit, which waits for a thread that hangs on a dead mount.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", ({ secret, ...options }: NodeProcessOptions) => {
  serveNode({
    ...options,
    secret: clusterSecret(secret),
    listen: { host: options.coordinator.host, port: 0 },
    joined: (node) => process.send?.(node),
  })
    .then(() => process.exit(0))
    .catch((error: Error) => {
      console.error(`daysix node ${process.pid}: ${error.message}`);
      process.exit(1);
    });
});
