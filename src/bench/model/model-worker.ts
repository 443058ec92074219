import { parentPort, workerData } from "node:worker_threads";
import { ModelRank, type Depth, type ModelRankOptions, type Reading } from "./model-rank.ts";
import type { Workload } from "./workload.ts";

/** A bench rank's thread: answers each command with one message. */
export type RankCommand =
  | { readonly kind: "open" }
  | { readonly kind: "prepare"; readonly workload: Workload }
  | { readonly kind: "run"; readonly passes: number; readonly depth: Depth };

export type RankAnswer =
  | { readonly kind: "opened" }
  | { readonly kind: "prepared"; readonly readings: readonly Reading[] }
  | { readonly kind: "ran"; readonly milliseconds: readonly number[] }
  | { readonly kind: "failed"; readonly message: string };

const port = parentPort;
if (!port) throw new Error("a rank must run in a worker thread");
const opened = ModelRank.open(workerData as ModelRankOptions);

async function answer(command: RankCommand): Promise<RankAnswer> {
  try {
    const rank = await opened;
    switch (command.kind) {
      case "open":
        return { kind: "opened" };
      case "prepare":
        return { kind: "prepared", readings: await rank.prepare(command.workload) };
      case "run":
        return { kind: "ran", milliseconds: await rank.run(command.passes, command.depth) };
    }
  } catch (error) {
    return { kind: "failed", message: (error as Error).message };
  }
}

port.on("message", (command: RankCommand) => {
  void answer(command).then((told) => port.postMessage(told));
});
