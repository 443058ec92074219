import type { Command } from "cac";
import {
  assignRanks,
  parseWire,
  readSecret,
  type Address,
  type ClusterSecret,
  type Topology,
  type WireRate,
} from "../cluster/index.ts";
import type { NodeOptions } from "../engine/index.ts";
import { durationOf, integerOf, textOf, UsageError } from "./arguments.ts";
import { notice } from "./notice.ts";

/** Node's timers hold 31 bits of milliseconds. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** Adds the options that say over which processes an engine's ranks are spread. */
export function withNodes(command: Command): Command {
  return withLink(withFailureTimeout(command))
    .option("--nodes <count>", "Processes for the ranks: 2, or by unit, each its own: 4+18", {
      default: 1,
    })
    .option("--listen <address>", "Wait at HOST:PORT for the other nodes, instead of starting them")
    .option("--secret-file <file>", "Secret that all nodes of the cluster know, with --listen");
}

export function withFailureTimeout(command: Command): Command {
  return command.option("--failure-timeout <time>", "Silence after which a node is given up", {
    default: "5s",
  });
}

/** Adds an emulated wire. */
export function withLink(command: Command): Command {
  return command.option(
    "--link <wire>",
    "Emulates a wire such as 200us,10Gbps to the other nodes; between ranks, if there is one node",
  );
}

export function linkOf(flags: Readonly<Record<string, unknown>>): WireRate | undefined {
  if (flags["link"] === undefined) return undefined;
  try {
    return parseWire(textOf("link", flags["link"]));
  } catch (error) {
    throw new UsageError(`--link: ${(error as Error).message}`);
  }
}

export function nodesOf(flags: Readonly<Record<string, unknown>>, topology: Topology): NodeOptions {
  const { listen } = flags;
  const count = countOf(textOf("nodes", flags["nodes"]));
  try {
    assignRanks(topology, count);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`--${error.message}`) : error;
  }
  const nodes = typeof count === "number" ? count : count.reduce((sum, each) => sum + each, 0);
  const failureTimeoutMs = failureTimeoutOf(flags);
  const wire = linkOf(flags);
  if (listen === undefined) return { count, failureTimeoutMs, wire };
  if (nodes === 1) throw new UsageError("--listen: expected --nodes above 1 beside it");
  const { host, port } = addressOf("listen", listen);
  return {
    ...{ count, failureTimeoutMs, wire },
    await: {
      listen: { host, port },
      secret: secretOf(flags),
      listening: (at) => notice(`waiting for ${nodes - 1} nodes at ${host}:${at}`),
      refused: (reason) => notice(`refused a node: ${reason}`),
    },
  };
}

/** `2`, or `4+18`. */
function countOf(text: string): NodeOptions["count"] {
  const counts = text.split("+").map((part) => integerOf("nodes", part, 1, 65_536));
  return counts.length === 1 ? counts[0] : counts;
}

export function failureTimeoutOf(flags: Readonly<Record<string, unknown>>): number {
  return timeoutOf("failure-timeout", flags["failureTimeout"]);
}

export function timeoutOf(option: string, value: unknown): number {
  const milliseconds = durationOf(option, value);
  if (milliseconds >= 1 && milliseconds <= LONGEST_TIMEOUT_MS) return milliseconds;
  throw new UsageError(`--${option}: expected a time above 0 and below 24 days`);
}

export function secretOf(flags: Readonly<Record<string, unknown>>): ClusterSecret {
  const file = flags["secretFile"];
  if (file === undefined) throw new UsageError("--secret-file: expected the cluster's secret");
  try {
    return readSecret(textOf("secret-file", file));
  } catch (error) {
    throw new UsageError(`--secret-file: ${(error as Error).message}`);
  }
}

/** `HOST:PORT`, or `[HOST]:PORT` around an IPv6 address. */
export function addressOf(option: string, value: unknown): Address {
  const text = textOf(option, value);
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new UsageError(`--${option}: expected HOST:PORT, got ${text}`);
  }
  return { host: match[1] ?? match[2], port };
}
