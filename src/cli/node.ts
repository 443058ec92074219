import type { Command } from "cac";
import { Door, systemClock } from "../cluster/index.ts";
import { boundHeaps, serveNode, type JoinedNodeOptions } from "../engine/index.ts";
import { textOf, UsageError } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { modelFolderOf } from "./model-folder.ts";
import { namedModelsOf, ofModel, ownFlagsOf } from "./named-models.ts";
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
    .option(
      "--model <dir>",
      "Own copy of the checkpoint; where several models are served each: NAME=DIR[,policy=…]",
      { default: bundledModel },
    )
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
export function runNode(flags: Flags): Promise<never> {
  boundHeaps();
  openLog(flags);
  return runUntilStopped(async (shutdown) => {
    await compute(flags, shutdown);
    notice("the cluster has closed");
  });
}

type Flags = Readonly<Record<string, unknown>>;

/** A model that this node computes for. */
interface NodeModel {
  /** Undefined: the only one of the serving node. */
  readonly name: string | undefined;
  readonly own: Pick<JoinedNodeOptions, "modelDirectory" | "modelBytes" | "policy">;
}

async function compute(flags: Flags, shutdown: Shutdown): Promise<void> {
  const { join, advertise } = flags;
  if (join === undefined) throw new UsageError("--join: expected the serving node's HOST:PORT");
  const leaving = new AbortController();
  const common = {
    coordinator: addressOf("join", join),
    secret: secretOf(flags),
    weights: weightsOf(flags),
    failureTimeoutMs: failureTimeoutOf(flags),
    wire: linkOf(flags),
    ...(advertise === undefined ? {} : { advertisedHost: textOf("advertise", advertise) }),
    leaving: leaving.signal,
  };
  const models = await modelsOf(flags);
  const listen = await listenOf(flags, models, common);
  const nodes = models.map(({ name, own }) => {
    const whose = models.length > 1 && name !== undefined ? ` for ${name}` : "";
    const joined = (node: number) => notice(`node ${node}: joined${whose}`);
    const model = name === undefined ? {} : { model: name };
    return { ...common, ...own, ...model, ...listen, ...rejoinOf(flags, whose), joined };
  });
  // Last, since it may take a while, which a wrong option should not.
  const packed = new Map<object, string | undefined>();
  for (const node of nodes) packed.set(node, await packedOf(flags, node));
  const closed = Promise.all(nodes.map((node) => serveNode({ ...node, packed: packed.get(node) })));
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

/** What may be said of one model. */
const ownFlags = ["policy"];

async function modelsOf(flags: Flags): Promise<NodeModel[]> {
  const named = await namedModelsOf(flags, ownFlags);
  if (typeof named === "string") return [{ name: undefined, own: await ownOf(flags, named) }];
  return Promise.all(
    named.map(async (model) => {
      const { name, directory } = model;
      const own = ofModel(name, ownOf({ ...flags, ...ownFlagsOf(model) }, directory));
      return { name, own: await own };
    }),
  );
}

async function ownOf(flags: Flags, model: string): Promise<NodeModel["own"]> {
  const modelDirectory = await modelFolderOf(model);
  const policy = await servingPolicyOf(flags["policy"], modelDirectory);
  return { modelDirectory, policy, modelBytes: modelBytesOf(flags) };
}

/** Where other nodes reach this one: one port for all of its models, if it is given. */
async function listenOf(
  flags: Flags,
  models: readonly NodeModel[],
  { secret, failureTimeoutMs }: Pick<JoinedNodeOptions, "secret"> & { failureTimeoutMs: number },
): Promise<Pick<JoinedNodeOptions, "listen">> {
  if (flags["listen"] === undefined) return {};
  const address = addressOf("listen", flags["listen"]);
  if (models.length === 1) return { listen: address };
  const door = await Door.open({
    ...{ listen: address, secret },
    patience: { milliseconds: failureTimeoutMs, clock: systemClock },
    models: models.flatMap(({ name }) => name ?? []),
    refused: (reason) => notice(`refused a node: ${reason}`),
  });
  return { listen: door };
}

function rejoinOf(flags: Flags, whose: string): Pick<JoinedNodeOptions, "rejoin"> {
  if (flags["once"] === true) return {};
  let told: string | undefined;
  return {
    rejoin: {
      timeoutMs: timeoutOf("rejoin-timeout", flags["rejoinTimeout"]),
      retrying: (reason) => {
        if (reason !== told) notice(`${reason}; trying again${whose}`);
        told = reason;
      },
    },
  };
}
