import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig, type ModelConfig } from "../../model/index.ts";
import type { AskedRequest, TimedEvent } from "../messages.ts";
import { contextModel, inVirtualTime } from "./context-model-fixtures.ts";
import { answer, request, untimed } from "./fixtures.ts";
import { openVirtual, runClock } from "./virtual-fixtures.ts";

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config: ModelConfig = {
  ...(await readConfig(directory)),
  ...{ maxPositions: 2048, vocabSize: 24 },
};

const STEP_ROWS = 64;
/** Virtual milliseconds. */
const STEP_MS = 5;
const ROW_MS = 0.25;
const LINK_MS = 2;

/** Requests of a few tenants whose prompts share beginnings, one each 3 ms. */
const asked = Array.from({ length: 200 }, (_, i): AskedRequest => {
  const prompt = Array.from({ length: 5 + ((i * 37) % 300) }, (__, j) => ((i % 3) + j) % 24);
  return { ...request(prompt), id: `${i}`, tenant: `${i % 4}`, maxTokens: 1 + ((i * 13) % 40) };
});

/** Answers all requests; when each event was heard, and what the ranks have counted. */
async function serve(topology: string, pages: number) {
  const clock = new ManualClock();
  const takeTime = ({ rows }: { readonly rows: number }) =>
    new Promise<void>((resolve) => clock.after(STEP_MS + ROW_MS * rows, resolve));
  const { engine } = await openVirtual({
    ...{ topology, config, clock, stepRows: STEP_ROWS, linkMs: () => LINK_MS },
    core: () => ({ model: inVirtualTime(contextModel(config, STEP_ROWS), takeTime), pages }),
  });
  const answerTo = async (one: AskedRequest, index: number) => {
    await new Promise<void>((resolve) => clock.after(3 * index, resolve));
    const events: TimedEvent[] = [];
    for await (const event of engine.generate(one)) events.push(event);
    return events;
  };
  const answers = Promise.all(asked.map(answerTo));
  const [told] = await Promise.all([answers, runClock(clock)]);
  return { told, stats: await engine.rankStats() };
}

const alone = (await serve("combined=1x1", 2000)).told.map((events) => answer(untimed(events)));

for (const topology of ["combined=2x1", "prefill=1x1,decode=1x1"]) {
  test(`two ranks (${topology}) and their router run in one thread on a virtual clock, twice alike`, async () => {
    const { told, stats } = await serve(topology, 40);
    for (const [index, events] of told.entries()) {
      assert.deepEqual(answer(untimed(events)), alone[index], `request ${index}`);
      assert.equal(events.at(-1)?.kind, "finished");
      const [started, first] = events;
      assert.ok(started.time >= 3 * index + 2 * LINK_MS && first.time >= started.time + STEP_MS);
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
    assert.deepEqual(await serve(topology, 40), { told, stats });
  });
}
