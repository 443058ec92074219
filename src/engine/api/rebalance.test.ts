import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { Engine } from "./client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { answer, read, request } from "./fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "fp8");

const start = (options: Partial<EngineOptions>) =>
  Engine.start({
    modelDirectory: fixture.directory,
    policy: "w8a16",
    kvMemoryBytes: 2 ** 21,
    ...options,
  });

const requests = [0, 1, 2, 3].map((i) =>
  request([...fixture.tokens, i], {
    maxTokens: 40,
    sampling: { ...request([]).sampling, seed: i },
  }),
);

test("experts that move while answers run leave no trace, on one node or two", async () => {
  const alone = await start({});
  const ask = (engine: Engine) =>
    Promise.all(requests.map((each) => read(engine.generate(each)).then(answer)));
  const expected = await ask(alone);
  await alone.close();
  for (const [topology, nodes] of [
    ["combined=1x4", 1],
    ["prefill=1x2,decode=1x2", 2],
  ] as const) {
    const engine = await start({
      topology: parseTopology(topology),
      nodes: { count: nodes },
      // The three experts that are chosen most are side by side.
      experts: { placement: [[0, 1, 2, 0, 3, 4, 5, 3]] },
    });
    const placements = [JSON.stringify(engine.placements)];
    for (let round = 0; placements.length < 2 || round < 4; round++) {
      assert.ok(round < 20, "the experts never moved");
      const answers = ask(engine);
      await engine.stats();
      for (const { before, after } of await engine.rebalance()) {
        assert.ok(after < before, `${before} became ${after}`);
        placements.push(JSON.stringify(engine.placements));
      }
      assert.deepEqual(await answers, expected, topology);
    }
    await engine.close();
  }
});

test("a unit that balances itself moves experts between two steps, and leaves no trace", async () => {
  const alone = await start({});
  const ask = (engine: Engine) =>
    Promise.all(requests.map((each) => read(engine.generate(each)).then(answer)));
  const expected = await ask(alone);
  await alone.close();
  const clock = { now: 0 };
  const engine = await start({ topology: parseTopology("combined=1x2"), now: () => clock.now });
  try {
    const [inOrder] = engine.placements;
    assert.deepEqual(await ask(engine), expected);
    assert.deepEqual(await engine.balance(), [], "the first window begins");
    assert.deepEqual(await ask(engine), expected);
    clock.now += 10_000;
    const answers = ask(engine);
    const [move] = await engine.balance();
    assert.ok(move.after < move.before);
    assert.notDeepEqual(engine.placements[0], inOrder);
    assert.deepEqual(await answers, expected);
    assert.deepEqual(await ask(engine), expected);
  } finally {
    await engine.close();
  }
});

test("a unit that has computed nothing since the last time stays as it is", async () => {
  const engine = await start({ topology: parseTopology("combined=1x2") });
  assert.deepEqual(await engine.rebalance(), []);
  await read(engine.generate(requests[0]));
  assert.deepEqual(
    (await engine.rebalance()).map(({ unit }) => unit),
    [0],
  );
  assert.deepEqual(await engine.rebalance(), []);
  await engine.close();
});
