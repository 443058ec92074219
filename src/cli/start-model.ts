import type { Logger } from "pino";
import { Engine } from "../engine/index.ts";
import { type ModelParts, type TextWorker, viewCluster } from "../gateway/index.ts";
import type { TraceWriter } from "../trace/index.ts";
import { keepBalanced } from "./auto-balance.ts";
import { FleetWatch } from "./fleet-watch.ts";
import { samplingDefaults } from "./generation-config.ts";
import { kernelsOf } from "./greeting.ts";
import { keepToLoad } from "./scale-policy.ts";
import { keepSchedule } from "./scale-schedule.ts";
import type { ModelOptions, ServingModel } from "./serving.ts";

/** What a model's engine is started with besides its options. */
export interface Surroundings {
  readonly names: readonly string[];
  readonly text: TextWorker;
  readonly log: Logger;
  readonly trace: TraceWriter | undefined;
  /** Units move experts where that pays. */
  readonly balancesItself: boolean;
  /** Told when a unit's state is another one. */
  readonly changed: () => void;
  /** How many ranks other models have now. */
  readonly otherRanks: () => number;
}

/** Starts a model's engine and has it looked after. */
export async function startModel(
  { engine: options, maxModelLen, schedule, scalePolicy }: ModelOptions,
  { names, text, log, trace, balancesItself, changed, otherRanks }: Surroundings,
): Promise<ServingModel> {
  let fleet: FleetWatch | undefined;
  const engine = await Engine.start(
    {
      ...options,
      usableTokens: text.vocabulary.vocabSize,
      ...(maxModelLen === undefined ? {} : { maxModelLen }),
    },
    {
      trace,
      lost: (rank, reason) => log.error({ rank, reason }, "a rank is lost"),
      silent: (rank) => log.warn({ rank }, "a rank does not answer; its last counts are told"),
      changed: () => {
        fleet?.look();
        changed();
      },
      scaled: ({ role, from, to, because }) =>
        log.info({ role, from, to, because }, `scale: ${role} ${from}→${to}, because ${because}`),
      moved: (requests, reason) => log.warn({ requests, reason }, "requests go on elsewhere"),
    },
  );
  fleet = new FleetWatch(engine, log);
  if (balancesItself) keepBalanced(engine, log);
  if (schedule) keepSchedule(engine, schedule, log);
  if (scalePolicy) keepToLoad(engine, scalePolicy, log, otherRanks);
  return { names, engine, text, log, options };
}

/** What the gateway needs of it. */
export async function partsOf(model: ServingModel): Promise<ModelParts> {
  const { names, engine, text, log, options } = model;
  const { modelDirectory, policy } = options;
  return {
    ...{ names, engine, text },
    sampling: await samplingDefaults(modelDirectory, log),
    cluster: await viewCluster(engine, modelDirectory),
    build: { policy, instruction_set: kernelsOf() },
  };
}
