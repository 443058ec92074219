import { readdir, stat } from "node:fs/promises";
import { parseHubModel } from "../hub/index.ts";

/** Folders without a config.json, by a file that is in them. */
const others: readonly (readonly [name: RegExp, what: string])[] = [
  [/\.gguf$/, "is a GGUF file; the original checkpoint in safetensors is needed"],
  [/^model_index\.json$/, "describes an image model of diffusers"],
  [/^adapter_config\.json$/, "is of an adapter; merge it into its model first"],
  [/^model\d+-mp\d+\.safetensors$/, "was converted for DeepSeek's demo; the original is needed"],
  [/^(params\.json|consolidated.*)$/, "is in Mistral's layout; Hugging Face's is needed"],
  [/\.(bin|pt|pth)$/, "is a PyTorch file; a checkpoint in safetensors is needed"],
];

/** What a path is that holds no checkpoint in Hugging Face's layout, and what to do about it. */
export async function wrongFolder(path: string): Promise<string> {
  const stats = await stat(path).catch(() => undefined);
  if (!stats) {
    const pull = parseHubModel(path) ? `; of the hub, download it first: daysix pull ${path}` : "";
    return `${path}: there is no such folder${pull}`;
  }
  if (!stats.isDirectory()) {
    const gguf = path.endsWith(".gguf") ? "a GGUF file" : "a file";
    return `${path}: is ${gguf}; a folder with config.json and safetensors is needed`;
  }
  const names = await readdir(path);
  if (names.length === 0) return `${path}: the folder is empty`;
  if (names.includes("snapshots")) {
    return `${path}: is the hub's cache of a model; give one of its snapshots, or the model's name`;
  }
  for (const [pattern, what] of others) {
    const name = names.find((each) => pattern.test(each));
    if (name !== undefined) return `${path}: has no config.json, and ${name} ${what}`;
  }
  return `${path}: has no config.json, so it is no checkpoint in Hugging Face's layout`;
}
