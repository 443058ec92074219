#!/usr/bin/env node
/**
 * `npm run bench:dispatch [-- FOLDER]`: what DeepSeek's own dump of expert choices (ESFT, V2-Lite's
 * shape: 26 layers × 64 experts, top-6) sends between 2, 4 and 8 ranks on 1, 2 and 4 nodes under
 * w8a16: BF16 rows both ways.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { maxOverMean } from "../../balancing/index.ts";
import { assignRanks, parseTopology } from "../../cluster/index.ts";
import { orderedPlacement } from "../../expert-parallel/index.ts";
import { dispatchTraffic, type Routing } from "./dispatch-traffic.ts";

const LAYERS = 26;
const EXPERTS = 64;
const TOP_K = 6;
const ROW_BYTES = 2048 * 2;

const [folder = "../shared/data/esft-routing"] = process.argv.slice(2);

async function readRouting(domain: string): Promise<Routing> {
  const ids = await readFile(join(folder, `${domain}.ids.u8`));
  const perLayer = ids.length / LAYERS;
  return Array.from({ length: LAYERS }, (_, layer) => {
    const chosen = Int32Array.from(ids.subarray(layer * perLayer, (layer + 1) * perLayer));
    for (let at = 0; at < perLayer; at += TOP_K) chosen.subarray(at, at + TOP_K).sort();
    return chosen;
  });
}

for (const domain of ["intent", "law"]) {
  const routing = await readRouting(domain);
  const tokens = routing[0].length / TOP_K;
  console.log(`${domain}: ${tokens} tokens; rows and KB are per token and layer`);
  for (const ranks of [2, 4, 8]) {
    for (const nodes of [1, 2, 4].filter((count) => count <= ranks)) {
      const traffic = dispatchTraffic(routing, {
        topK: TOP_K,
        placement: orderedPlacement(EXPERTS, ranks),
        nodeOfRank: assignRanks(parseTopology(`combined=1x${ranks}`), nodes),
        dispatchBytes: ROW_BYTES,
        combineBytes: ROW_BYTES,
      });
      const each = tokens * LAYERS;
      const off = ({ rows, bytes }: { rows: number; bytes: number }) =>
        `${(rows / each).toFixed(2)} rows, ${(bytes / each / 1000).toFixed(1)} KB`;
      console.log(
        `  ${ranks} ranks, ${nodes} nodes: off rank ${off(traffic.offRank)}; ` +
          `off node ${off(traffic.offNode)}; pairs of a rank, max/mean ` +
          maxOverMean(traffic.pairsInto).toFixed(3),
      );
    }
  }
}
