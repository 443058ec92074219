import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { randomSource } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig } from "../../model/index.ts";
import { END_MS } from "../fleet/fleet.ts";
import type { AskedRequest, TimedEvent } from "../messages.ts";
import { contextModel, inVirtualTime } from "./context-model-fixtures.ts";
import { answer, request, untimed } from "./fixtures.ts";
import { openVirtual, runClock, type VirtualOptions } from "./virtual-fixtures.ts";

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config = { ...(await readConfig(directory)), maxPositions: 1024, vocabSize: 24 };
const MISHAPS = 12;
/** Virtual milliseconds in which they befall the cluster. */
const PERIOD_MS = 4000;

const asked = Array.from({ length: 24 }, (_, i): AskedRequest => {
  const prompt = Array.from({ length: 5 + 9 * i }, (__, j) => (i + j * j) % 24);
  const sampling = { ...request([]).sampling, temperature: (i % 3) / 2, seed: i };
  return request(prompt, { id: `${i}`, maxTokens: 20 + 7 * i, sampling });
});

async function open(options: Pick<VirtualOptions, "topology"> & Partial<VirtualOptions>) {
  const clock = new ManualClock();
  const takeTime = () => new Promise<void>((resolve) => void clock.after(4, resolve));
  const core = () => ({ model: inVirtualTime(contextModel(config, 32), takeTime), pages: 60 });
  const opened = await openVirtual({
    ...{ config, clock, stepRows: 32, linkMs: () => 1, core },
    ...options,
  });
  const tell = async (one: AskedRequest, at: number) => {
    await new Promise<void>((resolve) => void clock.after(at, resolve));
    const events: TimedEvent[] = [];
    for await (const event of opened.engine.generate(one)) events.push(event);
    return answer(untimed(events));
  };
  return { ...opened, clock, tell };
}

const alone = await open({ topology: "combined=1x1" });
const undisturbed = Promise.all(asked.map((one) => alone.tell(one, 0)));
await runClock(alone.clock);
const expected = await undisturbed;

const topologies: [topology: string, nodes: number, prefill: number, decode: number][] = [
  ["prefill=1x2,decode=1x3", 2, 2, 3],
  ["prefill=2x1,decode=1x2", 3, 1, 2],
];

for (let seed = 0; seed < 16; seed++) {
  const [topology, nodes, ...sizes] = topologies[seed % 2];
  const sharesExperts = seed % 4 < 2;
  const what = `${topology}${sharesExperts ? " with shared experts" : ""}`;
  test(`units come and go under requests that notice nothing: ${what}, seed ${seed}`, async () => {
    const random = randomSource(seed);
    const draw = (below: number) => Math.floor(random() * below);
    const linkMs = () => 1 + draw(3);
    const startMs = () => 20 + draw(400);
    // At once, after a message, or when nobody waits for it any more.
    const endMs = () => [0, linkMs(), 2 * END_MS][draw(3)];
    const scene = await open({ topology, nodes, sharesExperts, linkMs, startMs, endMs });
    const { engine, ranks, clock, tell } = scene;
    const told = Promise.all(asked.map((one) => tell(one, draw(PERIOD_MS))));
    const wanted = { prefill: topology.startsWith("prefill=2") ? 2 : 1, decode: 1 };
    const mishaps: (() => void)[] = [
      () =>
        ranks.alive.length > 0 &&
        ranks.lose([ranks.alive[draw(ranks.alive.length)]], {
          reason: "a thread ended",
          isOwnFault: false,
        }),
      () => {
        const others = ranks.nodes.slice(1);
        if (others.length > 0)
          ranks.loseNode(others[draw(others.length)], { reason: "a node is lost" });
      },
      () => ranks.join(),
      () => {
        const role = draw(2) === 0 ? "prefill" : "decode";
        engine.scale({ [role]: (wanted[role] = 1 + draw(3)) });
      },
    ];
    for (let i = 0; i < MISHAPS; i++) clock.after(draw(PERIOD_MS), () => mishaps[draw(4)]());
    clock.after(PERIOD_MS, () => {
      for (let seats = 0; seats < nodes + MISHAPS; seats++) ranks.join();
    });
    let answers: Awaited<typeof told> | undefined;
    void told.then((all) => (answers = all));
    await runClock(clock);
    assert.ok(answers, "an answer hangs");
    for (const [i, events] of answers.entries())
      assert.deepEqual(events, expected[i], `request ${i}`);
    for (const rank of ranks.alive) {
      const { pagesInUse, waiting, running } = ranks.cores[rank].stats;
      assert.deepEqual([pagesInUse, waiting, running], [0, 0, 0], `rank ${rank} holds nothing`);
    }
    assert.deepEqual(
      engine.units.map(({ role, state, ranks: own }) => `${role} ${state} ${own.length}`),
      (["prefill", "decode"] as const).flatMap((role, index) =>
        Array.from({ length: wanted[role] }, () => `${role} serving ${sizes[index]}`),
      ),
    );
    assert.equal(ranks.alive.length, engine.units.flatMap((unit) => unit.ranks).length);
  });
}
