import { once } from "node:events";
import { isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { RankRouter } from "../cluster/index.ts";
import { spanNames, type SpanBatch } from "../trace/index.ts";
import { type Pipeline, stagesOf } from "./pipeline.ts";
import type { ThreadOptions, ThreadReport } from "./rank-thread.ts";
import { scheduleOf, type Task, type TaskKind } from "./schedule.ts";
import type { TimedStep, Timeline } from "./timeline.ts";
import { trainAlone, type Training } from "./training.ts";

/** Trains with a thread for each rank; by rank, what each has found and its spans. */
export async function runPipeline(
  pipeline: Pipeline,
  training: Training,
  traceEpochMs: number,
): Promise<ThreadReport[]> {
  const router = new RankRouter();
  const ranks = router.add(
    Array.from({ length: pipeline.ranks }, (_, rank) => ({ rank, node: 0 })),
  );
  const workers = ranks.map((rank) => {
    const endpoint = router.endpoint(rank);
    const workerData: ThreadOptions = { pipeline, training, endpoint, traceEpochMs };
    return new Worker(new URL("./rank-thread.js", import.meta.url), {
      workerData,
      transferList: [endpoint.port],
    });
  });
  try {
    return await Promise.all(
      workers.map(async (worker) => {
        const [report] = await once(worker, "message");
        return report as ThreadReport;
      }),
    );
  } finally {
    router.close();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

const taskKinds: readonly string[] = ["F", "B", "I", "W"] satisfies TaskKind[];

/** What ranks did and when, as their spans tell it: milliseconds since the first step of any. */
export function executedTimeline(pipeline: Pipeline, spans: readonly SpanBatch[]): Timeline {
  const executed = spans.map((batch) => executedSteps(pipeline, batch));
  const origin = Math.min(...executed.map(([{ start }]) => start));
  const since = (time: number) => (time - origin) / 1000;
  return executed.map((steps) =>
    steps.map(({ tasks, start, end }) => ({ tasks, start: since(start), end: since(end) })),
  );
}

/** Times are the trace's microseconds. */
function executedSteps(pipeline: Pipeline, spans: SpanBatch): TimedStep[] {
  const held = stagesOf(pipeline, spans.rank);
  const steps = new Map<number, { readonly tasks: Task[]; readonly start: number; end: number }>();
  for (const [i, name] of spans.names.entries()) {
    const stage = held.find(({ stage: number }) => number === spans.layers[i]);
    const kind = spanNames[name];
    if (!stage || !taskKinds.includes(kind)) continue;
    const start = spans.starts[i];
    const step = steps.get(spans.steps[i]) ?? { tasks: [], start, end: start };
    step.tasks.push({ kind: kind as TaskKind, ...stage, microBatch: spans.microBatches[i] });
    step.end = spans.ends[i];
    steps.set(spans.steps[i], step);
  }
  return [...steps.values()];
}

/** @throws Error where a rank left the schedule's order, or its gradients are not those of one rank */
export function verifyRun(
  pipeline: Pipeline,
  training: Training,
  reports: readonly ThreadReport[],
): void {
  const schedule = scheduleOf(pipeline);
  const alone = trainAlone(pipeline, training);
  for (const { outcome, spans } of reports) {
    const { rank, gradients } = outcome;
    const order = executedSteps(pipeline, spans).map(({ tasks }) => tasks);
    if (!isDeepStrictEqual(order, schedule[rank])) {
      throw new Error(`rank ${rank} did not keep to the schedule's order`);
    }
    const held = stagesOf(pipeline, rank).map(({ stage }) => alone.gradients[stage]);
    if (!isDeepStrictEqual(gradients, held)) {
      throw new Error(`rank ${rank} has other gradients than one rank alone`);
    }
  }
}
