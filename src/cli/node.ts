import type { Command } from "cac";
import { serveNode } from "../engine/index.ts";
import { policyOf, textOf, UsageError } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { addressOf, failureTimeoutOf, secretOf, withFailureTimeout } from "./node-options.ts";
import { weightsOf, withWeights } from "./weights.ts";

export function withNode(command: Command): Command {
  return withWeights(withFailureTimeout(command))
    .option("--join <address>", "HOST:PORT at which the serving node waits for others")
    .option("--secret-file <file>", "Secret that all nodes of the cluster know")
    .option("--model <dir>", "Own copy of the checkpoint", { default: bundledModel })
    .option("--policy <policy>", "As the serving node's", { default: "w8a16" })
    .option("--listen <address>", "HOST:PORT for other nodes; any address and port by default")
    .option("--advertise <host>", "Host that other nodes dial, where it is not the one seen");
}

/** `daysix node`: computes for another node's engine until that closes, or SIGINT or SIGTERM. */
export async function runNode(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const { join, listen, advertise } = flags;
  if (join === undefined) throw new UsageError("--join: expected the serving node's HOST:PORT");
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(0));
  await serveNode({
    coordinator: addressOf("join", join),
    secret: secretOf(flags),
    modelDirectory: textOf("model", flags["model"]),
    weights: weightsOf(flags),
    policy: policyOf(flags["policy"]),
    failureTimeoutMs: failureTimeoutOf(flags),
    ...(listen === undefined ? {} : { listen: addressOf("listen", listen) }),
    ...(advertise === undefined ? {} : { advertisedHost: textOf("advertise", advertise) }),
    joined: (node, nodes) => console.log(`node ${node} of ${nodes}: joined`),
  });
  console.log("the cluster has closed");
  // Ranks' threads have ended; whatever else is open is not worth waiting for.
  process.exit(0);
}
