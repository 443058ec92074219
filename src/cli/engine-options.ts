import type { Command } from "cac";
import { expertPolicies } from "../balancing/index.ts";
import { parseTopology, type Topology } from "../cluster/index.ts";
import {
  defaultPolicy,
  overlapModes,
  type EngineOptions,
  type ExpertOptions,
} from "../engine/index.ts";
import { readConfig } from "../model/index.ts";
import { bytesOf, integerOf, oneOf, present, textOf, UsageError } from "./arguments.ts";
import { bundledModel } from "./bundled-model.ts";
import { sharingCores, threadsOf, withThreads } from "./compute-threads.ts";
import { contextCacheOf, withContextCache } from "./context-cache.ts";
import { fastDecodeOf, withFastDecode } from "./fast-decode.ts";
import { modelFolderOf } from "./model-folder.ts";
import { nodesOf, withNodes } from "./node-options.ts";
import { readLoads, readPlacement } from "./rebalance.ts";
import { packedOf, withPacked } from "./packed.ts";
import { servingPolicyHelp, servingPolicyOf } from "./serving-policy.ts";
import { modelBytesOf, withVerifyModel } from "./verify-model.ts";
import { weightsOf, withWeights } from "./weights.ts";

const oneModel = "Checkpoint folder (Hugging Face layout), or org/name that was pulled";

/** Adds the options that say which model runs, how, and on which ranks. */
export function withEngine(command: Command, modelHelp = oneModel): Command {
  return withPacked(
    withVerifyModel(withFastDecode(withThreads(withWeights(withNodes(withContextCache(command)))))),
  )
    .option("--model <dir>", modelHelp, { default: bundledModel })
    .option("--policy <policy>", servingPolicyHelp)
    .option("--kv-memory <size>", "Memory for the KV cache of each rank; several models share it", {
      default: "256M",
    })
    .option("--topology <units>", "Units × ranks: combined=1x4, or prefill=1x2,decode=1x2", {
      default: "combined=1x1",
    })
    .option("--experts <how>", "parallel: over a unit's ranks; replicated: all on each", {
      default: "parallel",
    })
    .option("--placement <file>", "Physical experts, as daysix rebalance --json prints them")
    .option("--redundant-experts <count>", "Physical experts of a unit beyond its logical ones")
    .option(
      "--expert-policy <policy>",
      `How experts are placed for loads: ${expertPolicies.join(", ")}`,
      {
        default: defaultPolicy,
      },
    )
    .option("--speculate <when>", "auto: compute likely tokens ahead where it is faster; or off", {
      default: "auto",
    })
    .option(
      "--overlap <when>",
      "auto: a unit's ranks compute one half of a step while the other's rows are under way, where that is faster; on; off",
      { default: "auto" },
    )
    .option("--expert-loads <file>", "Recorded loads, for which experts are replicated and placed");
}

type Flags = Readonly<Record<string, unknown>>;

/** Of an engine that is alone on this machine. */
export async function engineOf(flags: Flags): Promise<EngineOptions> {
  const [{ engine }] = sharingCores([{ engine: await checkedEngineOf(flags) }]);
  return withPackedWeights(flags, engine);
}

/** With the packed file, which may first have to be written: that takes a while. */
export async function withPackedWeights(
  flags: Flags,
  engine: EngineOptions,
): Promise<EngineOptions> {
  return { ...engine, packed: await packedOf(flags, engine) };
}

/** What the options say, read and checked; without the packed file. */
export async function checkedEngineOf(flags: Flags): Promise<EngineOptions> {
  const modelDirectory = await modelFolderOf(textOf("model", flags["model"]));
  // What a folder is that holds no model, before anything is opened in it.
  await readConfig(modelDirectory);
  const policy = await servingPolicyOf(flags["policy"], modelDirectory);
  const topology = readTopology(textOf("topology", flags["topology"]));
  return {
    modelDirectory,
    policy,
    weights: weightsOf(flags),
    modelBytes: modelBytesOf(flags),
    kvMemoryBytes: bytesOf("kv-memory", flags["kvMemory"]),
    fastDecode: fastDecodeOf(flags),
    speculate: oneOf("speculate", flags["speculate"], ["auto", "off"]) === "auto",
    overlap: oneOf("overlap", flags["overlap"], overlapModes),
    ...present({ threads: threadsOf(flags) }),
    topology,
    experts: await expertsOf(flags),
    nodes: nodesOf(flags, topology),
    ...contextCacheOf(flags),
  };
}

async function expertsOf(flags: Flags): Promise<ExpertOptions | "replicated"> {
  const how = oneOf("experts", flags["experts"], ["parallel", "replicated"]);
  if (how === "replicated") return how;
  const { placement, redundantExperts, expertLoads } = flags;
  return {
    policy: oneOf("expert-policy", flags["expertPolicy"], expertPolicies),
    ...(placement !== undefined && {
      placement: await readPlacement("placement", textOf("placement", placement)),
    }),
    ...(redundantExperts !== undefined && {
      redundantExperts: integerOf("redundant-experts", redundantExperts, 0, 65_536),
    }),
    ...(expertLoads !== undefined && {
      expertLoads: await readLoads("expert-loads", textOf("expert-loads", expertLoads)),
    }),
  };
}

export function readTopology(text: string): Topology {
  try {
    return parseTopology(text);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
