import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Routing } from "./dispatch-traffic.ts";

/** DeepSeek's own dump of expert choices: V2-Lite's shape. */
export const esft = { layers: 26, experts: 64, topK: 6, domains: ["intent", "law"] } as const;

/** A row's choices ascend. */
export async function readEsftRouting(folder: string, domain: string): Promise<Routing> {
  const { layers, topK } = esft;
  const ids = await readFile(join(folder, `${domain}.ids.u8`));
  const perLayer = ids.length / layers;
  return Array.from({ length: layers }, (_, layer) => {
    const chosen = Int32Array.from(ids.subarray(layer * perLayer, (layer + 1) * perLayer));
    for (let at = 0; at < perLayer; at += topK) chosen.subarray(at, at + topK).sort();
    return chosen;
  });
}
