#!/usr/bin/env node
/**
 * `npm run bench:replicas [-- FOLDER]`: receive load of the busiest rank over the mean on DeepSeek's
 * own dump of expert choices (ESFT), experts placed for one window of tokens and judged on the next.
 */
import { esft, readEsftRouting } from "./esft-routing.ts";
import { replicaBalance, ways, type Way } from "./replica-balance.ts";

const WINDOW_TOKENS = 2048;
const BATCH_TOKENS = 1024;

const [folder = "../shared/data/esft-routing"] = process.argv.slice(2);
const routings = await Promise.all(esft.domains.map((domain) => readEsftRouting(folder, domain)));
const { experts, topK } = esft;
console.log(
  `placed for ${WINDOW_TOKENS} tokens, judged on the next in batches of ${BATCH_TOKENS}: ` +
    "max/mean, and the share gone of what EPLB has above the bound",
);
const gone = new Map<Way, number[]>();
for (const redundant of [0, 16, 32]) {
  for (const ranks of [8, 16, 32]) {
    const setting = { experts, topK, ranks, redundant };
    const windows = { windowTokens: WINDOW_TOKENS, batchTokens: BATCH_TOKENS };
    const balances = routings.map((routing) => replicaBalance(routing, { ...setting, ...windows }));
    const mean = (way: Way | "bound") =>
      balances.reduce((sum, balance) => sum + balance[way], 0) / balances.length;
    console.log(
      `${ranks} ranks, ${redundant} redundant experts: bound ${mean("bound").toFixed(3)}`,
    );
    for (const way of Object.keys(ways) as Way[]) {
      const share = (mean("eplb") - mean(way)) / (mean("eplb") - mean("bound"));
      if (redundant > 0) gone.set(way, [...(gone.get(way) ?? []), share]);
      console.log(
        `  ${way.padEnd(36)}${mean(way).toFixed(3)}  ${(100 * share).toFixed(0).padStart(4)} %`,
      );
    }
  }
}
console.log("on average with redundant experts:");
for (const [way, shares] of gone) {
  const share = shares.reduce((sum, each) => sum + each, 0) / shares.length;
  console.log(`  ${way.padEnd(36)}${(100 * share).toFixed(0).padStart(11)} %`);
}
