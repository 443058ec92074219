import { readFile } from "node:fs/promises";
import type { Command } from "cac";
import { z } from "zod";
import { parseTopology, type Topology } from "../cluster/index.ts";
import type { EngineOptions } from "../engine/index.ts";
import { bytesOf, policyOf, textOf, UsageError } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { contextCacheOf, withContextCache } from "./context-cache.ts";
import { nodesOf, withNodes } from "./node-options.ts";

/** Adds the options that say which model runs, how, and on which ranks. */
export function withEngine(command: Command): Command {
  return withNodes(withContextCache(command))
    .option("--model <dir>", "Checkpoint folder (Hugging Face layout)", { default: bundledModel })
    .option("--policy <policy>", "Precision: f32, w8a16 or w8a8", { default: "w8a16" })
    .option("--kv-memory <size>", "Memory for the KV cache of each rank", { default: "256M" })
    .option("--topology <units>", "Units × ranks: combined=1x4, or prefill=1x2,decode=1x2", {
      default: "combined=1x1",
    })
    .option("--experts <how>", "parallel: over a unit's ranks; replicated: all on each", {
      default: "parallel",
    })
    .option("--placement <file>", "Physical experts, as daysix rebalance --json prints them");
}

export async function engineOf(flags: Readonly<Record<string, unknown>>): Promise<EngineOptions> {
  const experts = textOf("experts", flags["experts"]);
  if (experts !== "parallel" && experts !== "replicated") {
    throw new UsageError(`--experts: expected parallel or replicated, got ${experts}`);
  }
  const { placement } = flags;
  return {
    modelDirectory: textOf("model", flags["model"]),
    policy: policyOf(flags["policy"]),
    kvMemoryBytes: bytesOf("kv-memory", flags["kvMemory"]),
    topology: readTopology(textOf("topology", flags["topology"])),
    experts,
    nodes: nodesOf(flags),
    ...contextCacheOf(flags),
    ...(placement === undefined
      ? {}
      : { placement: await readPlacement(textOf("placement", placement)) }),
  };
}

function readTopology(text: string): Topology {
  try {
    return parseTopology(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

const placementFile = z.looseObject({ physicalToLogical: z.array(z.array(z.int().min(0))) });

/** Logical expert of each physical one, by layer of routed experts. */
async function readPlacement(file: string): Promise<number[][]> {
  try {
    return placementFile.parse(JSON.parse(await readFile(file, "utf8"))).physicalToLogical;
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new UsageError(`--placement: cannot use ${file}: ${reason}`);
  }
}
