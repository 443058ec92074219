import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { Engine } from "./client.ts";
import { answer, emptied, read, request } from "./fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");

const start = (topology: string, changed = () => {}) =>
  Engine.start(
    {
      modelDirectory: fixture.directory,
      policy: "w8a16",
      kvMemoryBytes: 2 ** 21,
      topology: parseTopology(topology),
    },
    { changed },
  );

/** Prompts of their own, greedy and drawn. */
const asked = Array.from({ length: 32 }, (_, i) =>
  request([...fixture.tokens.slice(0, 3 + (i % 20)), i], {
    maxTokens: 30 + 2 * i,
    sampling: { ...request([]).sampling, temperature: i % 2, seed: i },
  }),
);

const statesOf = (engine: Engine) =>
  engine.units.map(({ role, state, ranks }) => `${role} ${state} ${ranks.length}`).join();

test("units start and drain under 32 streams, which notice nothing", async () => {
  const alone = await start("combined=1x1");
  const expected = await Promise.all(
    asked.map(async (each) => answer(await read(alone.generate(each)))),
  );
  await alone.close();

  let look: () => unknown = () => undefined;
  const engine = await start("prefill=1x1,decode=1x2", () => look());
  /** All streams ask again and again until the units are in such states. */
  const until = async (states: string) => {
    const reached = new AbortController();
    look = () => statesOf(engine) === states && reached.abort();
    look();
    const streams = asked.map(async (each, i) => {
      do assert.deepEqual(answer(await read(engine.generate(each))), expected[i], `stream ${i}`);
      while (!reached.signal.aborted);
    });
    await Promise.all(streams);
  };
  const before = "prefill serving 1,decode serving 2";
  await until(before);
  engine.scale({ decode: 2 });
  await until(`${before},decode serving 2`);
  engine.scale({ decode: 1, prefill: 2 });
  await until("prefill serving 1,prefill serving 1,decode serving 2");
  assert.throws(() => engine.scale({ prefill: 1, combined: 2 }), /no combined units/);
  engine.scale({ prefill: 1 });
  await until(before);
  await emptied(engine);
  await engine.close();
});
