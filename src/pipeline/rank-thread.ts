/** A thread that takes one rank's steps and tells what came of them. */
import { parentPort, workerData } from "node:worker_threads";
import { channels, type RankEndpoint, RankTransport, type Transport } from "../cluster/index.ts";
import { clockSince, type SpanBatch, SpanRecorder } from "../trace/index.ts";
import { createPipeline, type Pipeline } from "./pipeline.ts";
import { PipelineRank, type RankOutcome } from "./pipeline-rank.ts";
import { trainAlone, type Training } from "./training.ts";

export interface ThreadOptions {
  readonly pipeline: Pipeline;
  readonly training: Training;
  readonly endpoint: RankEndpoint;
  /** Spans count from here: milliseconds of Unix time. */
  readonly traceEpochMs: number;
}

export interface ThreadReport {
  readonly outcome: RankOutcome;
  readonly spans: SpanBatch;
}

/** Threads begin one after the other, which is no bubble. */
async function startTogether(transport: Transport, ranks: number): Promise<void> {
  for (let rank = 0; rank < ranks; rank++) {
    await transport.send(rank, channels.step, new Uint8Array());
  }
  for (let rank = 0; rank < ranks; rank++) await transport.receive(rank, channels.step);
}

const { pipeline, training, endpoint, traceEpochMs } = workerData as ThreadOptions;
const { rank } = endpoint;
const transport = new RankTransport(endpoint);
const recorder = new SpanRecorder({ node: 0, rank, clock: clockSince(traceEpochMs) });
// Training for nothing compiles what is timed afterwards.
trainAlone(createPipeline("DualPipeV", 2, 4), training);
await startTogether(transport, pipeline.ranks);
const outcome = await new PipelineRank(pipeline, training, transport, recorder).train();
const report: ThreadReport = { outcome, spans: recorder.take() };
parentPort?.postMessage(report);
