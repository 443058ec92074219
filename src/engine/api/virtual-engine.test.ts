import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { parseTopology, type Transport } from "../../cluster/index.ts";
import { ManualClock } from "../../cluster/fixtures.ts";
import { Mailbox } from "../../cluster/ranks/mailbox.ts";
import { createStoredRows, PAGE_TOKENS } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig, type ModelConfig } from "../../model/index.ts";
import { nullTracer } from "../../trace/index.ts";
import { placeOf, planFleet, type FleetPlan } from "../fleet/fleet-plan.ts";
import type { RankFleet, RankListener } from "../fleet/index.ts";
import type { AskedRequest, RankNews, TimedEvent } from "../messages.ts";
import { EngineCore, Rank, RankLoop } from "../rank/index.ts";
import type { StepComputer } from "../rank/core-options.ts";
import { Engine } from "./client.ts";
import { request } from "./fixtures.ts";

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config: ModelConfig = { ...(await readConfig(directory)), maxPositions: 2048 };

const STEP_ROWS = 64;
const PAGES = 40;
/** Virtual milliseconds. */
const STEP_MS = 5;
const ROW_MS = 0.25;
const LINK_MS = 2;

/** Takes its time, and generates the last token plus one. */
const scriptedModel = (clock: ManualClock): StepComputer => ({
  config,
  maxRows: STEP_ROWS,
  tracer: nullTracer,
  createKvPool: (pages) => ({
    width: 1,
    layers: Array.from({ length: config.layers }, () => ({
      entries: createStoredRows("f32", pages * PAGE_TOKENS),
    })),
  }),
  async choose({ rows }, _, { choices, onLayer }) {
    await new Promise<void>((resolve) => clock.after(STEP_MS + ROW_MS * rows, resolve));
    for (let layer = 0; layer < config.layers; layer++) onLayer?.(layer);
    return (row) => {
      const { tokens } = choices[row];
      return { token: (tokens[tokens.length - 1] + 1) % config.vocabSize, top: [] };
    };
  },
});

/** Carries messages between the ranks of one thread, each after a while. */
function transports(ranks: number, clock: ManualClock): Transport[] {
  const mailboxes = Array.from({ length: ranks }, () => new Mailbox());
  return mailboxes.map((own, rank) => ({
    rank,
    send: async (to, channel, message) => {
      const copy = Uint8Array.from(message);
      clock.after(LINK_MS, () => mailboxes[to].deliver(rank, channel, copy));
    },
    receive: (from, channel) => own.receive(from, channel),
    arrival: (channel, signal) => own.arrival(channel, signal),
    close: () => own.close(),
  }));
}

/** Every rank's loop in this thread; what is told and said takes a while. */
function startRanks(plan: FleetPlan, clock: ManualClock, listener: RankListener): RankFleet {
  const links = transports(plan.nodeOfRank.length, clock);
  const never = new Promise<never>(() => undefined);
  const ranks = links.map((transport, number) => {
    const core = new EngineCore({ model: scriptedModel(clock), pages: PAGES, transport });
    const rank = new Rank(core, transport, placeOf(plan, number), never);
    const say = (news: RankNews) => void clock.after(LINK_MS, () => listener.heard(number, news));
    const loop = new RankLoop(rank, { say, die: assert.fail }, clock);
    loop.start();
    return {
      limits: core.limits,
      tell: (command: Parameters<RankLoop["hear"]>[0]) =>
        void clock.after(LINK_MS, () => loop.hear(command)),
      ask: (question: Parameters<RankLoop["answer"]>[0]) => loop.answer(question),
    };
  });
  return { ranks, close: async () => links.forEach((link) => link.close()) };
}

/** Requests of a few tenants whose prompts share beginnings, one each 3 ms. */
const asked = Array.from({ length: 200 }, (_, i): AskedRequest => {
  const prompt = Array.from({ length: 5 + ((i * 37) % 300) }, (__, j) => ((i % 3) + j) % 300);
  return { ...request(prompt), id: `${i}`, tenant: `${i % 4}`, maxTokens: 1 + ((i * 13) % 40) };
});

/** Answers all requests; when each event was heard, and what the ranks have counted. */
async function serve(topology: string) {
  const clock = new ManualClock();
  const options = { nodes: 1, policy: "f32", kvMemoryBytes: 0, chunkRows: STEP_ROWS } as const;
  const plan = planFleet(
    { ...options, topology: parseTopology(topology), experts: "replicated" },
    config,
  );
  const engine = await Engine.over(
    { plan, config, now: () => clock.now(), clock },
    {},
    async (listener) => startRanks(plan, clock, listener),
  );
  const answer = async (one: AskedRequest, index: number) => {
    await new Promise<void>((resolve) => clock.after(3 * index, resolve));
    const events: TimedEvent[] = [];
    for await (const event of engine.generate(one)) events.push(event);
    return events;
  };
  const answers = Promise.all(asked.map(answer));
  // A turn of the real event loop for each of the virtual clock's: all that follows has happened then.
  const turns = (async () => {
    do await turn();
    while (clock.advanceToNext());
  })();
  const [told] = await Promise.all([answers, turns]);
  return { told, stats: await engine.rankStats() };
}

for (const topology of ["combined=2x1", "prefill=1x1,decode=1x1"]) {
  test(`two ranks (${topology}) and their router run in one thread on a virtual clock, twice alike`, async () => {
    const { told, stats } = await serve(topology);
    for (const [index, events] of told.entries()) {
      const { prompt, maxTokens } = asked[index];
      const last = prompt[prompt.length - 1];
      const tokens = events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
      const expected = Array.from(
        { length: maxTokens },
        (_, i) => (last + 1 + i) % config.vocabSize,
      );
      assert.deepEqual(tokens, expected, `request ${index}`);
      assert.equal(events.at(-1)?.kind, "finished");
      assert.ok(events[0].time >= 3 * index + 2 * LINK_MS + STEP_MS);
    }
    assert.ok(
      stats.every(({ steps }) => steps > 100),
      "both ranks step",
    );
    assert.ok(
      stats.some(({ hitTokens }) => hitTokens > 0),
      "prefixes are found again",
    );
    assert.ok(
      stats.some(({ preemptions }) => preemptions > 0),
      "pages run out",
    );
    assert.ok(stats.every(({ pagesInUse }) => pagesInUse === 0));
    assert.deepEqual(await serve(topology), { told, stats });
  });
}
