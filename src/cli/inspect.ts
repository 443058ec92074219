import { availableMemory, policies, type WeightDtype } from "../kernels/index.ts";
import { contextLimit, defaultPolicy, inspectModel, packedFile } from "../model/index.ts";
import { amount } from "./amount.ts";
import { dtypeNames } from "./dtype-names.ts";
import { packedFolder } from "./packed.ts";

/** `daysix inspect`: what a checkpoint holds and whether it fits this machine. */
export async function inspect(options: {
  readonly directory: string;
  readonly verify: boolean;
  readonly json: boolean;
}): Promise<void> {
  const { directory, verify, json } = options;
  const inspection = await inspectModel(directory, { verify, availableBytes: availableMemory() });
  const packed = await describePacked(directory);
  if (inspection.problems?.length) process.exitCode = 1;
  if (json) {
    console.log(JSON.stringify({ ...inspection, packed }, null, 2));
    return;
  }
  const { config, parameters, bytes, kvBytesPerToken: kv } = inspection;
  const { gate } = config;
  const sparse = config.indexTopK === config.maxPositions ? ` (${contextLimit(config)})` : "";
  const formats = Object.entries(inspection.formats) as [WeightDtype, number][];
  const rows: [string, string][] = [
    ["architecture", `${config.modelType}, ${config.layers} layers, hidden ${config.hiddenSize}`],
    ["attention", `${config.heads} heads, latent ${config.latentRank} + ${config.ropeWidth}`],
    [
      "experts",
      `${gate.experts} routed, ${gate.topK} a token, ${config.sharedExperts} shared, ` +
        `${gate.groups} groups`,
    ],
    ["MTP layer", bytes.mtp > 0 ? "yes" : "none"],
    ["context", `${config.maxPositions} tokens${sparse}, vocabulary ${config.vocabSize}`],
    ["parameters", `${count(parameters.total)}, ${count(parameters.activePerToken)} a token`],
    ["formats", formats.map(([dtype, size]) => `${dtypeNames[dtype]} ${amount(size)}`).join(", ")],
    ...Object.entries(bytes).map(([group, size]): [string, string] => [
      group === "total" ? "bytes" : `  ${group}`,
      amount(size),
    ]),
    ["read per token", `${amount(inspection.bytesPerDecodedToken)} (decoded alone)`],
    ["KV per token", policies.map((name) => `${amount(kv[name])} (${name})`).join(", ")],
    ["fits here", inspection.fits ? "yes" : "no"],
    [
      "packed",
      packed
        ? `${amount(packed.bytes)}, ${packed.state}: ${packed.path}`
        : "no need: kernels here read weights as they lie",
    ],
  ];
  for (const [label, value] of rows) console.log(`${label.padEnd(16)}${value}`);
  if (verify)
    console.log(`values          ${inspection.problems?.join("\n") || "all are numbers"}`);
}

/** The file that `serve` would use or make here; null where the kernels want none. */
async function describePacked(modelDirectory: string) {
  const policy = await defaultPolicy(modelDirectory);
  const file = await packedFile(packedFolder, { modelDirectory, policy });
  if (!file) return null;
  const state = await file.state();
  const told = typeof state === "string" ? packedStates[state] : state.problem;
  return { bytes: file.bytes, path: file.path, state: told };
}

const packedStates = { sound: "is there", absent: "is not there yet" };

function count(parameters: number): string {
  return parameters >= 1e9
    ? `${(parameters / 1e9).toFixed(2)} B`
    : `${(parameters / 1e6).toFixed(2)} M`;
}
