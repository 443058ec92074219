#!/usr/bin/env node
/**
 * What a decode layer's exchange takes, rows to the experts of another rank and theirs back, beside the bare
 * ping of as many bytes on the same transport: through shared memory and over TCP on the loopback device.
 *
 *   npm run bench:exchange
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
  clusterSecret,
  joinCluster,
  openCluster,
  RankRouter,
  type ClusterIdentity,
} from "../../cluster/index.ts";
import { createSharedExchange } from "../../expert-parallel/index.ts";
import type { ExchangeShape } from "../../kernels/index.ts";
import type { ExchangeMeasured, ExchangeRankOptions } from "./exchange-rank.ts";

const secret = clusterSecret("one of a bench on one machine");
const identity: ClusterIdentity = {
  ...{ version: "", modelBytes: "", modelHash: "", policy: "int8", bits: "", numericsVersion: 0 },
};
/** V2-Lite's layer. */
const shape: ExchangeShape = { ranks: 2, rows: 64, topK: 6, hidden: 2048, policy: "int8" };
const JOIN = "--join";

/** The two ranks, each on a node. */
async function runRanks(
  router: RankRouter,
  nodes: readonly number[],
  more: Omit<ExchangeRankOptions, "endpoint" | "shape">,
): Promise<ExchangeMeasured[]> {
  const own = router.add(nodes.map((node, rank) => ({ rank, node })));
  const measured = own.map(async (rank) => {
    const endpoint = router.endpoint(rank);
    const worker = new Worker(new URL("./exchange-rank.js", import.meta.url), {
      workerData: { endpoint, shape, ...more } satisfies ExchangeRankOptions,
      transferList: [endpoint.port],
    });
    const [told] = (await once(worker, "message")) as [ExchangeMeasured[]];
    return { told, worker };
  });
  const [first, ...others] = await Promise.all(measured);
  for (const { worker } of [first, ...others]) await worker.terminate();
  return first.told;
}

async function overSharedMemory(form: "stream" | "messages"): Promise<ExchangeMeasured[]> {
  const router = new RankRouter();
  const more = form === "stream" ? { shared: createSharedExchange(shape) } : {};
  const measured = await runRanks(router, [0, 0], more);
  router.close();
  return measured;
}

async function overTcp(): Promise<ExchangeMeasured[]> {
  const listen = { host: "127.0.0.1", port: 0 };
  const opened = await openCluster({ nodes: 2, secret, identity, listen });
  const child = fork(fileURLToPath(import.meta.url), [JOIN, `${opened.address.port}`]);
  const mesh = await opened.formed;
  const router = new RankRouter({ mesh });
  const measured = await runRanks(router, [0, 1], {});
  router.close();
  await mesh.close();
  if (child.exitCode === null) await once(child, "exit");
  return measured;
}

async function join(port: number): Promise<void> {
  const coordinator = { host: "127.0.0.1", port };
  const mesh = await joinCluster({ secret, identity, coordinator });
  const router = new RankRouter({ mesh });
  await runRanks(router, [0, 1], {});
  router.close();
  await mesh.close();
}

function print(what: string, measured: readonly ExchangeMeasured[]): void {
  for (const { rows, bytes, exchange, ping } of measured) {
    const told = {
      what,
      rows,
      bytes,
      exchange: exchange.map(Math.round),
      ping: ping.map(Math.round),
    };
    const ratio = Number((exchange[0] / ping[0]).toFixed(2));
    console.log(JSON.stringify({ ...told, ratio }));
  }
}

const joins = process.argv.indexOf(JOIN);
if (joins >= 0) await join(Number(process.argv[joins + 1]));
else {
  print("shared memory, by the streams", await overSharedMemory("stream"));
  print("shared memory, as messages", await overSharedMemory("messages"));
  print("TCP, as messages", await overTcp());
}
