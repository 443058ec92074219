import type { Command } from "cac";
import { serveNode, type JoinedNodeOptions } from "../engine/index.ts";
import { textOf, UsageError } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { boundHeaps } from "./heap-bounds.ts";
import { modelFolderOf } from "./model-folder.ts";
import {
  addressOf,
  failureTimeoutOf,
  linkOf,
  secretOf,
  timeoutOf,
  withFailureTimeout,
  withLink,
} from "./node-options.ts";
import { openLog, withLog } from "./log.ts";
import { notice } from "./notice.ts";
import { packedOf, withPacked } from "./packed.ts";
import { DRAIN_MS } from "./serve.ts";
import { servingPolicyOf } from "./serving-policy.ts";
import { runUntilStopped, type Shutdown } from "./shutdown.ts";
import { modelBytesOf, withVerifyModel } from "./verify-model.ts";
import { weightsOf, withWeights } from "./weights.ts";

export function withNode(command: Command): Command {
  return withLog(withPacked(withVerifyModel(withWeights(withLink(withFailureTimeout(command))))))
    .option("--join <address>", "HOST:PORT at which the serving node waits for others")
    .option("--secret-file <file>", "Secret that all nodes of the cluster know")
    .option("--model <dir>", "Own copy of the checkpoint", { default: bundledModel })
    .option("--policy <policy>", "As the serving node's; by default as its default")
    .option("--listen <address>", "HOST:PORT for other nodes; any address and port by default")
    .option("--advertise <host>", "Host that other nodes dial, where it is not the one seen")
    .option("--rejoin-timeout <time>", "How long it waits for a serving node that was lost", {
      default: "60s",
    })
    .option("--once", "End where no serving node is there yet, or none any more");
}

/**
 * A signal may have been sent to all nodes at once, or to their common process group: so long the
 * coordinator has to finish live answers, store their blocks and close the cluster.
 */
const LEAVE_MS = DRAIN_MS + 15_000;

/** `daysix node`: computes for another node's engine until that closes, or a while after a signal. */
export function runNode(flags: Readonly<Record<string, unknown>>): Promise<never> {
  boundHeaps();
  openLog(flags);
  return runUntilStopped(async (shutdown) => {
    await compute(flags, shutdown);
    notice("the cluster has closed");
  });
}

async function compute(
  flags: Readonly<Record<string, unknown>>,
  shutdown: Shutdown,
): Promise<void> {
  const { join, listen, advertise } = flags;
  if (join === undefined) throw new UsageError("--join: expected the serving node's HOST:PORT");
  const modelDirectory = await modelFolderOf(textOf("model", flags["model"]));
  const policy = await servingPolicyOf(flags["policy"], modelDirectory);
  const leaving = new AbortController();
  const modelBytes = modelBytesOf(flags);
  const closed = serveNode({
    coordinator: addressOf("join", join),
    secret: secretOf(flags),
    modelDirectory,
    weights: weightsOf(flags),
    modelBytes,
    policy,
    failureTimeoutMs: failureTimeoutOf(flags),
    wire: linkOf(flags),
    ...(listen === undefined ? {} : { listen: addressOf("listen", listen) }),
    ...(advertise === undefined ? {} : { advertisedHost: textOf("advertise", advertise) }),
    ...rejoinOf(flags),
    leaving: leaving.signal,
    joined: (node) => notice(`node ${node}: joined`),
    // Last, since it may take a while, which a wrong option should not.
    packed: await packedOf(flags, { modelDirectory, policy, modelBytes }),
  });
  shutdown.opened({
    name: "the cluster",
    withinMs: LEAVE_MS,
    close: () => {
      leaving.abort();
      // Whoever awaits this function is told of a failure.
      return closed.catch(() => undefined);
    },
  });
  await closed;
}

function rejoinOf(flags: Readonly<Record<string, unknown>>): Pick<JoinedNodeOptions, "rejoin"> {
  if (flags["once"] === true) return {};
  let told: string | undefined;
  return {
    rejoin: {
      timeoutMs: timeoutOf("rejoin-timeout", flags["rejoinTimeout"]),
      retrying: (reason) => {
        if (reason !== told) notice(`${reason}; trying again`);
        told = reason;
      },
    },
  };
}
