import { readFile } from "node:fs/promises";
import { z } from "zod";
import {
  type ExpertPlacing,
  type ExpertPlan,
  type ExpertPolicy,
  type ExpertTopology,
  rebalanceExperts,
} from "../balancing/index.ts";
import { askServer, type Server } from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";
import { urlProblem } from "./server.ts";

const loadsSchema = z.array(z.array(z.number()));

/** `daysix rebalance`: expert placements for recorded loads. */
export async function rebalance(options: {
  /** JSON: [layers, logical experts]. */
  readonly file: string;
  readonly topology: ExpertTopology;
  readonly policy: ExpertPolicy;
  /** A plan as JSON: where the experts lie now. */
  readonly current?: string;
  readonly json: boolean;
}): Promise<void> {
  const { file, topology, policy, json } = options;
  const current = options.current && (await readPlacement("current", options.current));
  const placing = { policy, ...(current && { current }) };
  const plan = planFor(await readLoads("loads", file), { ...topology, ...placing });
  if (json) console.log(JSON.stringify(plan));
  else printPlan(plan, topology);
}

const answerSchema = z.object({
  units: z.array(z.object({ unit: z.number(), before: z.number(), after: z.number() })),
});

/** `daysix rebalance --url`: a running server's experts, for the loads it has counted itself. */
export async function rebalanceServer({
  json,
  model,
  ...server
}: Server & {
  /** Undefined: the only one that is served. */
  readonly model?: string | undefined;
  readonly json: boolean;
}): Promise<void> {
  const response = await askServer(server, "/rebalance", { model }).catch((error: Error) => {
    throw urlProblem(error);
  });
  const answer = answerSchema.parse(await response.json());
  if (json) console.log(JSON.stringify(answer));
  else if (answer.units.length === 0) console.log("no unit would be better off");
  for (const { unit, before, after } of json ? [] : answer.units) {
    console.log(
      `unit ${unit}: the busiest rank had ${before.toFixed(3)} of the mean, ` +
        `and would now have ${after.toFixed(3)}`,
    );
  }
}

/** JSON: `[[load of each logical expert], …]`, one list a layer. */
export async function readLoads(option: string, file: string): Promise<number[][]> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new UsageError(`--${option}: cannot read ${file} as JSON: ${(error as Error).message}`);
  }
  const { data, error } = loadsSchema.safeParse(value);
  if (data) return data;
  const [{ path, message }] = error.issues;
  const place = path.map((index) => `[${String(index)}]`).join("") || "the whole";
  throw new UsageError(
    `--${option}: expected [[load of each logical expert], …] in ${file}: ${place}: ${message}`,
  );
}

const placementFile = z.looseObject({ physicalToLogical: z.array(z.array(z.int().min(0))) });

/** Logical expert of each physical one, by layer of routed experts. */
export async function readPlacement(option: string, file: string): Promise<number[][]> {
  try {
    return placementFile.parse(JSON.parse(await readFile(file, "utf8"))).physicalToLogical;
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw new UsageError(`--${option}: cannot use ${file}: ${reason}`);
  }
}

/** The balancer names the argument that does not fit; each is an option here. */
function planFor(loads: number[][], options: ExpertTopology & ExpertPlacing): ExpertPlan {
  try {
    return rebalanceExperts(loads, options);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--${error.message}`);
    throw error;
  }
}

function printPlan(plan: ExpertPlan, { ranks, nodes }: ExpertTopology): void {
  const layers = plan.maxOverMean.length;
  const slots = plan.physicalToLogical[0].length;
  console.log(
    `${layers} layers, ${plan.replicas[0].length} experts in ${slots} slots, ` +
      `${slots / ranks} on each of ${ranks} ranks, ${nodes} nodes`,
  );
  console.log("layer  max/mean  most replicas");
  for (const [layer, balance] of plan.maxOverMean.entries()) {
    const most = Math.max(...plan.replicas[layer]);
    const expert = plan.replicas[layer].indexOf(most);
    console.log(
      `${String(layer).padStart(5)}  ${balance.toFixed(4).padStart(8)}  ${most} of expert ${expert}`,
    );
  }
  const mean = plan.maxOverMean.reduce((sum, balance) => sum + balance, 0) / layers;
  console.log(` mean  ${mean.toFixed(4).padStart(8)}`);
  console.log("--json prints the placement");
}
