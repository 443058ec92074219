/** Runs a schedule of chaos in one thread, on a virtual clock, beside one undisturbed rank. */
import { webcrypto } from "node:crypto";
import { ManualClock } from "../../cluster/fixtures.ts";
import { parseTopology } from "../../cluster/index.ts";
import { contextModel, inVirtualTime } from "../../engine/api/context-model-fixtures.ts";
import { answer, request, untimed } from "../../engine/api/fixtures.ts";
import type { Engine, MaskSource } from "../../engine/api/index.ts";
import { openVirtual, runClock, type VirtualRanks } from "../../engine/api/virtual-fixtures.ts";
import type { AskedRequest, GenerationEvent, TimedEvent } from "../../engine/messages.ts";
import type { CoreOptions, StepComputer } from "../../engine/rank/core-options.ts";
import { Repeats, Speculation } from "../../engine/speculation/index.ts";
import { createReferenceKernels } from "../../kernels/index.ts";
import { MemoryBlobStore, type BlobStore } from "../../kv-cache/index.ts";
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
  type Mishap,
} from "./chaos-schedule.ts";

/** What a schedule has shown. */
export interface ChaosOutcome {
  /** What should not be; empty where all is well. */
  readonly problems: readonly string[];
  readonly finished: number;
  readonly cancelled: number;
  readonly resumed: number;
  readonly recomputedTokens: number;
  readonly lostRanks: number;
}

/** Virtual milliseconds. */
const STEP_MS = 4;
const ROW_MS = 0.1;
const MASK_MS = 3;
/** After which silence is noticed. */
const FAILURE_TIMEOUT_MS = 1000;
/** How long two nodes that have lost each other may both be alive. */
const CUT_MS = 300;

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
function maskAfter(token: number): Uint32Array {
  const words = new Uint32Array(1);
  for (let next = 0; next < CHAOS_VOCABULARY; next++)
    if (next % 4 !== token % 4) words[0] |= 1 << next;
  return words;
}

/** A virtual cluster at work on a schedule. */
interface World {
  readonly clock: ManualClock;
  readonly engine: Engine;
  readonly ranks: VirtualRanks;
  /** Ranks whose next step throws. */
  readonly faulty: Set<number>;
  readonly draw: Draw;
}

/** What ranks compute with. */
export interface ChaosModel {
  readonly config: ModelConfig;
  readonly create: (rank: number, maxRows: number) => Promise<StepComputer>;
}

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");

/** A few lines whose token depends on every entry of KV. */
export async function scriptedModel(): Promise<ChaosModel> {
  const tiny = await readConfig(directory);
  const config = { ...tiny, maxPositions: 2048, vocabSize: CHAOS_VOCABULARY };
  return { config, create: async (_, maxRows) => contextModel(config, maxRows) };
}

/** A tiny checkpoint, for ranks that have all experts; each is opened once and computes for all schedules. */
export async function tinyModel(): Promise<ChaosModel> {
  const opened = new Map<string, Promise<StepComputer>>();
  const kernels = createReferenceKernels();
  return {
    config: await readConfig(directory),
    create: (rank, maxRows) => {
      const key = `${rank} ${maxRows}`;
      const model = opened.get(key) ?? loadModel(directory, { kernels, policy: "f32", maxRows });
      opened.set(key, model);
      return model;
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

interface Played {
  /** By sequence; undefined where it hangs. */
  readonly told: readonly (readonly TimedEvent[] | undefined)[];
  readonly left: readonly string[];
  readonly lostRanks: number;
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
  await runClock(clock, () => working > 0);
  const left = ranks.alive.flatMap((rank) => {
    const { pagesInUse, waiting, running } = ranks.cores[rank].stats;
    const held = pagesInUse + waiting + running;
    return held === 0
      ? []
      : [`rank ${rank} still holds ${pagesInUse} pages, ${waiting}+${running} requests`];
  });
  if (engine.ended !== undefined) left.push(`the engine has ended: ${engine.ended}`);
  const lostRanks = ranks.ranks.length - ranks.alive.length;
  await ranks.close();
  return { told: Array.from(told, (each) => each), left, lostRanks };
}

async function openWorld(
  schedule: ChaosSchedule,
  model: ChaosModel,
  store: TroubledStore | undefined,
): Promise<World> {
  const { topology, nodes, sharesExperts, stepRows, pages, speculates } = schedule;
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
  const numbers = [...Array(parseTopology(topology).ranks).keys()];
  const models = await Promise.all(numbers.map((rank) => model.create(rank, stepRows)));
  const opened = await openVirtual({
    ...{ topology, nodes, sharesExperts, config: model.config, clock, stepRows },
    linkMs: () => draw.below(4) + draw.below(2) * draw.below(20),
    core: (rank): Omit<CoreOptions, "transport" | "unit" | "clock"> => ({
      model: inVirtualTime(models[rank], (batch) => takeTime(rank, batch)),
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
  return { ...opened, clock, faulty, draw };
}

const identity: NumericIdentity = {
  ...{ modelHash: "chaos", modelBytes: "sample", policy: "f32", bits: "common" },
  numericsVersion: 1,
};

async function tell({ engine, clock }: World, { asked, of }: Sequence, maysLeave: boolean) {
  const left = new AbortController();
  if (maysLeave && of.patience !== undefined) clock.after(of.patience, () => left.abort());
  const masks: MaskSource = {
    async next(token) {
      await new Promise<void>((resolve) => clock.after(MASK_MS, resolve));
      return of.stopTokens.includes(token) ? undefined : maskAfter(token);
    },
    ahead: () => [],
  };
  const events: TimedEvent[] = [];
  const source = engine.generate(asked, left.signal, of.isConstrained ? masks : undefined);
  for await (const event of source) events.push(event);
  return events;
}

async function strike(
  { clock, ranks, engine, faulty, draw }: World,
  mishap: Mishap,
): Promise<void> {
  switch (mishap.kind) {
    case "kill":
      ranks.lose(mishap.ranks, { reason: "its node was killed", losesWay: () => draw.chance(0.5) });
      break;
    case "freeze":
      ranks.lose(mishap.ranks, { reason: "it is silent", heardAfter: () => FAILURE_TIMEOUT_MS });
      break;
    case "cut":
      for (const rank of mishap.ranks) ranks.cut(mishap.from, rank);
      clock.after(CUT_MS, () => ranks.lose(mishap.ranks, { reason: "it was cut off" }));
      break;
    case "fault":
      faulty.add(mishap.rank);
      break;
    case "rebalance":
      await engine.rebalance();
  }
}

function judge(
  sequences: readonly Sequence[],
  undisturbed: Played["told"],
  { told, left, lostRanks }: Played,
): ChaosOutcome {
  const problems = [...left];
  const counts = { finished: 0, cancelled: 0, resumed: 0, recomputedTokens: 0 };
  const expected = undisturbed.map((events) => answer(untimed(events ?? [])));
  for (const [i, { of, asked }] of sequences.entries()) {
    const events = told[i];
    if (!events) {
      problems.push(`request ${asked.id} hangs`);
      continue;
    }
    for (const event of events) {
      if (event.kind !== "resumed") continue;
      counts.resumed++;
      counts.recomputedTokens += event.recomputedTokens;
    }
    const last = untimed(events).at(-1);
    if (last?.kind === "finished") counts.finished++;
    else if (of.patience !== undefined && last?.kind !== "failed") counts.cancelled++;
    const problem = problemWith(of, untimed(events), expected[i]);
    if (problem !== undefined) problems.push(`request ${asked.id}: ${problem}`);
  }
  return { problems, ...counts, lostRanks };
}

function problemWith(
  { prompt, patience }: ChaosRequest,
  events: readonly GenerationEvent[],
  expected: readonly GenerationEvent[] | undefined,
): string | undefined {
  const last = events.at(-1);
  if (prompt.includes(POISON)) {
    const isNamed = last?.kind === "failed" && last.code === "request_failed_thrice";
    return isNamed ? undefined : `expected to fail by name, got ${JSON.stringify(last)}`;
  }
  const got = answer(events);
  const isWhole = last?.kind === "finished";
  if (!isWhole && (patience === undefined || last?.kind === "failed")) return JSON.stringify(last);
  const due = isWhole ? expected : expected?.slice(0, got.length);
  if (JSON.stringify(got) !== JSON.stringify(due)) return "the answer is another";
  const started = events.flatMap((event) => (event.kind === "started" ? [event.hitTokens] : []));
  if (started.length > 1) return "it has started twice";
  const [hits = 0] = started;
  if (hits % 64 !== 0 || hits >= prompt.length) return `${hits} hits of ${prompt.length} tokens`;
  return undefined;
}

/** Blocks in memory that come late, damaged, or not at all, as a schedule has it. */
class TroubledStore implements BlobStore {
  readonly key: Uint8Array;
  readonly #inner = new MemoryBlobStore({ maxBytes: 2 ** 20, maxAgeMs: Infinity });
  readonly #draw: Draw;
  readonly #trouble: ChaosSchedule["cache"];
  #clock: ManualClock | undefined;
  #hasBegun = false;

  constructor({ seed, cache }: ChaosSchedule) {
    this.key = this.#inner.key;
    this.#draw = new Draw(seed + 2);
    this.#trouble = cache;
  }

  /** From now on there is trouble. */
  begin(): void {
    this.#hasBegun = true;
  }

  use(clock: ManualClock): void {
    this.#clock = clock;
  }

  async get(name: string, bytes: number, usedAt: number) {
    await this.#delay();
    const content = await this.#inner.get(name, bytes, usedAt);
    if (!this.#isTroubled("damaged") || typeof content === "string") return content;
    const kind = this.#draw.below(4);
    if (kind === 0) return "absent" as const;
    if (kind === 1) throw new Error("the store is broken");
    if (kind === 2) return content;
    const damaged = content.slice();
    damaged[this.#draw.below(damaged.length)] ^= 1 << this.#draw.below(8);
    return damaged;
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    await this.#delay();
    if (this.#isTroubled("damaged") && this.#draw.chance(0.3)) throw new Error("the store is full");
    await this.#inner.put(name, content, usedAt);
  }

  async touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    await this.#delay();
    return this.#inner.touch(name, bytes, usedAt);
  }

  async delete(name: string): Promise<void> {
    await this.#inner.delete(name);
  }

  #isTroubled(kind: ChaosSchedule["cache"]): boolean {
    return this.#hasBegun && this.#trouble === kind;
  }

  /** A slow store misses its deadline now and then. */
  async #delay(): Promise<void> {
    const milliseconds = this.#isTroubled("slow") ? this.#draw.below(3000) : this.#draw.below(3);
    await new Promise<void>((resolve) => this.#clock?.after(milliseconds, resolve));
  }
}
