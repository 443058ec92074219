/** Runs a schedule of chaos in one thread, on a virtual clock, beside one undisturbed rank. */
import { webcrypto } from "node:crypto";
import { ManualClock } from "../../cluster/fixtures.ts";
import { parseTopology } from "../../cluster/index.ts";
import { contextModel, inVirtualTime } from "../../engine/api/context-model-fixtures.ts";
import { request } from "../../engine/api/fixtures.ts";
import { maskOf, masksAfter } from "../../engine/api/mask-fixtures.ts";
import { openVirtual, runClock } from "../../engine/api/virtual-fixtures.ts";
import { END_MS } from "../../engine/fleet/fleet.ts";
import type { AskedRequest, TimedEvent } from "../../engine/messages.ts";
import type { CoreOptions, StepComputer } from "../../engine/rank/core-options.ts";
import { Repeats, Speculation } from "../../engine/speculation/index.ts";
import { createReferenceKernels } from "../../kernels/index.ts";
import {
  loadModel,
  readConfig,
  type ModelConfig,
  type NumericIdentity,
  type StepBatch,
} from "../../model/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import {
  CHAOS_VOCABULARY,
  Draw,
  POISON,
  type ChaosRequest,
  type ChaosSchedule,
} from "./chaos-schedule.ts";
import { TroubledStore } from "./troubled-store-fixtures.ts";
import {
  makePeace,
  problemsOf,
  strike,
  watchCounts,
  type World,
} from "./virtual-mishaps-fixtures.ts";
import { judge, type ChaosOutcome, type Played } from "./virtual-verdict-fixtures.ts";

/** Virtual milliseconds. */
const STEP_MS = 4;
const ROW_MS = 0.1;
const MASK_MS = 3;
/** More than a step waits for one. */
const LATE_MASK_MS = 7000;
/** One mask of so many is late, where some are. */
const LATE_MASKS = 40;

let working = 0;
/** Blocks are sealed and checked on threads of their own: meanwhile a virtual clock has to stand still. */
for (const name of ["importKey", "sign", "verify"] as const) {
  const { subtle } = webcrypto;
  const real = subtle[name].bind(subtle) as (...given: unknown[]) => Promise<unknown>;
  const counted = async (...given: unknown[]) => {
    working++;
    try {
      return await real(...given);
    } finally {
      working--;
    }
  };
  Object.defineProperty(subtle, name, { value: counted });
}

/** Sequences of a schedule's requests: a choice each. */
interface Sequence {
  readonly asked: AskedRequest;
  readonly of: ChaosRequest;
}

const sequencesOf = ({ requests }: ChaosSchedule): Sequence[] =>
  requests.flatMap((of, index) =>
    Array.from({ length: of.n }, (_, choice) => ({
      of,
      asked: {
        ...request(Uint32Array.from(of.prompt)),
        ...{ id: `${index}-${choice}`, tenant: of.tenant, choice },
        ...{ maxTokens: of.maxTokens, stopTokens: of.stopTokens, sampling: of.sampling },
        topLogprobs: of.topLogprobs,
        ...(of.isConstrained && { mask: maskAfter(0) }),
      } as AskedRequest,
    })),
  );

/** Of the tokens whose remainder by 4 differs from that of the one before. */
const maskAfter = (token: number) => maskOf(CHAOS_VOCABULARY, (next) => next % 4 !== token % 4);

/** What ranks compute with. */
export interface ChaosModel {
  readonly config: ModelConfig;
  /** For so many ranks, and those that are started later: by rank. */
  readonly open: (ranks: number, maxRows: number) => Promise<(rank: number) => StepComputer>;
}

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");

/** A few lines whose token depends on every entry of KV. */
export async function scriptedModel(): Promise<ChaosModel> {
  const tiny = await readConfig(directory);
  const config = { ...tiny, maxPositions: 2048, vocabSize: CHAOS_VOCABULARY };
  return { config, open: async (_, maxRows) => () => contextModel(config, maxRows) };
}

/**
 * A tiny checkpoint, for ranks that have all experts; each is opened once and computes for all schedules.
 * None is started later.
 */
export async function tinyModel(): Promise<ChaosModel> {
  const opened = new Map<string, Promise<StepComputer>>();
  const kernels = createReferenceKernels();
  const openOne = (rank: number, maxRows: number) => {
    const key = `${rank} ${maxRows}`;
    const model = opened.get(key) ?? loadModel(directory, { kernels, policy: "f32", maxRows });
    opened.set(key, model);
    return model;
  };
  return {
    config: await readConfig(directory),
    async open(ranks, maxRows) {
      const numbers = [...Array(ranks).keys()];
      const models = await Promise.all(numbers.map((rank) => openOne(rank, maxRows)));
      return (rank) => models[rank];
    },
  };
}

export async function runSchedule(
  schedule: ChaosSchedule,
  model: ChaosModel,
): Promise<ChaosOutcome> {
  const sequences = sequencesOf(schedule);
  const quiet: ChaosSchedule = {
    ...{ seed: schedule.seed, topology: "combined=1x1", nodes: 1, sharesExperts: false },
    ...{ pages: 400, stepRows: 64, speculates: false, cache: "off", mishaps: [] },
    ...{ recovers: false, hasLateMasks: false },
    requests: schedule.requests.filter(({ prompt }) => !prompt.includes(POISON)),
  };
  const expected = await play(quiet, model, undefined);
  const store = schedule.cache === "off" ? undefined : new TroubledStore(schedule);
  if (schedule.cache === "warm" || schedule.cache === "damaged") {
    await play({ ...quiet, cache: "warm" }, model, store);
  }
  store?.begin();
  const told = await play(schedule, model, store);
  return judge(sequences, expected.told, told);
}

async function play(
  schedule: ChaosSchedule,
  model: ChaosModel,
  store: TroubledStore | undefined,
): Promise<Played> {
  const world = await openWorld(schedule, model, store);
  const { clock, engine, ranks } = world;
  const told: (TimedEvent[] | undefined)[] = [];
  for (const [i, sequence] of sequencesOf(schedule).entries()) {
    clock.after(sequence.of.at, () => {
      void tell(world, sequence, schedule.mishaps.length > 0).then((events) => (told[i] = events));
    });
  }
  for (const mishap of schedule.mishaps) clock.after(mishap.at, () => void strike(world, mishap));
  if (schedule.recovers) makePeace(world);
  const miscounted = watchCounts(world);
  await runClock(clock, () => working > 0);
  const left = ranks.alive.flatMap((rank) => {
    const { pagesInUse, waiting, running } = ranks.cores[rank].stats;
    const held = pagesInUse + waiting + running;
    return held === 0
      ? []
      : [`rank ${rank} still holds ${pagesInUse} pages, ${waiting}+${running} requests`];
  });
  left.push(...miscounted);
  if (schedule.recovers) left.push(...problemsOf(world, schedule));
  if (engine.ended !== undefined) left.push(`the engine has ended: ${engine.ended}`);
  const lostRanks = ranks.ranks.length - ranks.alive.length;
  const startedUnits = ranks.starts - parseTopology(schedule.topology).units.length;
  await ranks.close();
  return { told: Array.from(told, (each) => each), left, lostRanks, startedUnits };
}

async function openWorld(
  schedule: ChaosSchedule,
  model: ChaosModel,
  store: TroubledStore | undefined,
): Promise<World> {
  const { topology, nodes, sharesExperts, stepRows, pages, speculates, recovers } = schedule;
  const clock = new ManualClock();
  const draw = new Draw(schedule.seed + 1);
  const faulty = new Set<number>();
  store?.use(clock);
  const takeTime = async (rank: number, batch: StepBatch) => {
    const milliseconds = (STEP_MS + ROW_MS * batch.rows) * (0.5 + draw.below(100) / 100);
    await new Promise<void>((resolve) => clock.after(milliseconds, resolve));
    if (faulty.delete(rank)) throw new Error("a step that fails");
    if (batch.tokens.subarray(0, batch.rows).includes(POISON)) throw new Error("a poisoned row");
  };
  const computer = await model.open(parseTopology(topology).ranks, stepRows);
  const linkMs = () => draw.below(4) + draw.below(2) * draw.below(20);
  // At once, after a message, or when nobody waits for it any more.
  const endMs = () => draw.oneOf([0, linkMs(), 2 * END_MS]);
  const opened = await openVirtual({
    ...{ topology, nodes, sharesExperts, config: model.config, clock, stepRows, linkMs },
    ...(recovers && { startMs: () => 20 + draw.below(400), endMs }),
    reading: schedule.seed % 2 === 0 ? "sooner" : "decode",
    core: (rank): Omit<CoreOptions, "transport" | "unit" | "clock"> => ({
      model: inVirtualTime(computer(rank), (batch) => takeTime(rank, batch)),
      ...{ pages, usableTokens: CHAOS_VOCABULARY },
      ...(speculates && {
        speculation: new Speculation(
          () => new Repeats(),
          () => clock.now(),
        ),
      }),
      ...(store && { contextCache: { store, identity, clock, now: () => clock.now() } }),
    }),
  });
  const isLate = () => schedule.hasLateMasks && draw.below(LATE_MASKS) === 0;
  return { ...opened, clock, faulty, draw, maskMs: () => (isLate() ? LATE_MASK_MS : MASK_MS) };
}

const identity: NumericIdentity = {
  ...{ modelHash: "chaos", modelBytes: "sample", policy: "f32", bits: "common" },
  numericsVersion: 1,
};

async function tell({ engine, clock, maskMs }: World, { asked, of }: Sequence, maysLeave: boolean) {
  const left = new AbortController();
  if (maysLeave && of.patience !== undefined) clock.after(of.patience, () => left.abort());
  const wait = () => new Promise<void>((resolve) => clock.after(maskMs(), resolve));
  const masks = masksAfter(maskAfter, { wait, ends: of.stopTokens });
  const events: TimedEvent[] = [];
  const source = engine.generate(asked, left.signal, of.isConstrained ? masks : undefined);
  for await (const event of source) events.push(event);
  return events;
}
