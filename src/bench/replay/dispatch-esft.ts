#!/usr/bin/env node
/**
 * `npm run bench:dispatch [-- FOLDER]`: what DeepSeek's own dump of expert choices (ESFT, V2-Lite's
 * shape: 26 layers × 64 experts, top-6) sends between 2, 4 and 8 ranks on 1, 2 and 4 nodes under
 * w8a16: BF16 rows both ways.
 */
import { maxOverMean } from "../../balancing/index.ts";
import { assignRanks, parseTopology } from "../../cluster/index.ts";
import { orderedPlacement } from "../../expert-parallel/index.ts";
import { dispatchTraffic } from "./dispatch-traffic.ts";
import { esft, readEsftRouting } from "./esft-routing.ts";

const ROW_BYTES = 2048 * 2;

const [folder = "../shared/data/esft-routing"] = process.argv.slice(2);

const { layers, experts, topK, domains } = esft;

for (const domain of domains) {
  const routing = await readEsftRouting(folder, domain);
  const tokens = routing[0].length / topK;
  console.log(`${domain}: ${tokens} tokens; rows and KB are per token and layer`);
  for (const ranks of [2, 4, 8]) {
    for (const nodes of [1, 2, 4].filter((count) => count <= ranks)) {
      const traffic = dispatchTraffic(routing, {
        topK,
        placement: orderedPlacement(experts, ranks),
        nodeOfRank: assignRanks(parseTopology(`combined=1x${ranks}`), nodes),
        dispatchBytes: ROW_BYTES,
        combineBytes: ROW_BYTES,
      });
      const each = tokens * layers;
      const off = ({ rows, bytes }: { rows: number; bytes: number }) =>
        `${(rows / each).toFixed(2)} rows, ${(bytes / each / 1000).toFixed(1)} KB`;
      console.log(
        `  ${ranks} ranks, ${nodes} nodes: off rank ${off(traffic.offRank)}; ` +
          `off node ${off(traffic.offNode)}, each row once ${off(traffic.onceOffNode)}; pairs of a rank, max/mean ` +
          maxOverMean(traffic.pairsInto).toFixed(3),
      );
    }
  }
}
