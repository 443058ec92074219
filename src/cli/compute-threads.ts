import type { Command } from "cac";
import { nodesHere } from "../engine/index.ts";
import { coresOfEach } from "../kernels/index.ts";
import { integerOf } from "./arguments.ts";
import type { ModelOptions } from "./serving.ts";

export function withThreads(command: Command): Command {
  return command.option(
    "--threads <count>",
    "Compute threads of each rank; by default the cores of its machine, shared by the ranks there, " +
      "and 1 where units come and go",
  );
}

/** Undefined where the flag is not given. */
export function threadsOf(flags: Readonly<Record<string, unknown>>): number | undefined {
  const { threads } = flags;
  return threads === undefined ? undefined : integerOf("threads", threads, 1, 4096);
}

type Sharing = Pick<ModelOptions, "engine" | "schedule" | "scalePolicy">;

/** Models whose ranks have this machine's cores in equal parts; what is on other machines has theirs. */
export function sharingCores<Model extends Sharing>(models: readonly Model[]): Model[] {
  const ranks = models.reduce((sum, { engine }) => sum + nodesHere(engine).length, 0);
  const share = coresOfEach(ranks);
  return models.map((model) => {
    const { engine, schedule, scalePolicy } = model;
    const { threads = schedule || scalePolicy ? 1 : "all", nodes } = engine;
    const isElsewhereToo = models.length === 1 && nodes?.await !== undefined;
    const here = threads === "all" ? share : Math.min(threads, share);
    return { ...model, engine: { ...engine, threads: isElsewhereToo ? threads : here } };
  });
}
