import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../cluster/fixtures.ts";
import { parseTopology } from "../cluster/index.ts";
import { contextModel, inVirtualTime } from "../engine/api/context-model-fixtures.ts";
import { request } from "../engine/api/fixtures.ts";
import { openVirtual, runClock } from "../engine/api/virtual-fixtures.ts";
import type { ScaleChange, WantedUnits } from "../engine/index.ts";
import { usableCores } from "../kernels/index.ts";
import { tinyFixtures } from "../model/fixtures.ts";
import { readConfig } from "../model/index.ts";
import {
  LoadScaledUnits,
  type ScaledEngine,
  scalePolicyOf,
  type ScalePolicy,
} from "./scale-policy.ts";

const SECOND = 1000;
const PROMPT_TOKENS = 40;
const ANSWER_TOKENS = 10;
/** A unit is aimed at ten requests a second. */
const policy: ScalePolicy = {
  carries: { prefill: 10 * PROMPT_TOKENS, decode: 10 * ANSWER_TOKENS },
  ...{ least: 1, most: 4, everyMs: 2 * SECOND, slack: 0.05, patienceMs: 10 * SECOND },
};

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config = { ...(await readConfig(directory)), maxPositions: 2048, vocabSize: 24 };

/** Answers so many requests in each second, on units that follow them and start in a second, one after the other. */
async function serve(perSecond: readonly number[]) {
  const clock = new ManualClock();
  const takeTime = () => new Promise<void>((resolve) => clock.after(20, resolve));
  const changes: ScaleChange[] = [];
  const topology = "prefill=1x1,decode=1x1";
  const { engine } = await openVirtual({
    ...{ topology, config, clock, stepRows: 64, linkMs: () => 1, startMs: () => SECOND },
    core: () => ({ model: inVirtualTime(contextModel(config, 64), takeTime), pages: 200 }),
    observer: { scaled: (change) => changes.push(change) },
  });
  const units = new LoadScaledUnits(engine, policy, parseTopology(topology), {
    warn: () => undefined,
    error: assert.fail,
  });
  const prompt = Array.from({ length: PROMPT_TOKENS }, (_, i) => i % 24);
  let [finished, failed] = [0, 0];
  const ask = async (id: string) => {
    const asked = { ...request(prompt), id, tenant: id, maxTokens: ANSWER_TOKENS };
    for await (const { kind } of engine.generate(asked)) {
      if (kind === "finished") finished++;
      if (kind === "failed") failed++;
    }
  };
  const serving: number[] = [];
  const second = (index: number) => {
    units.look(clock.now());
    serving.push(
      engine.units.filter(({ role, state }) => role === "decode" && state === "serving").length,
    );
    const count = perSecond[index];
    for (let i = 0; i < count; i++) {
      clock.after((i * SECOND) / count, () => void ask(`${index} ${i}`));
    }
    if (index + 1 < perSecond.length) clock.after(SECOND, () => second(index + 1));
  };
  second(0);
  await runClock(clock);
  assert.equal(failed, 0);
  assert.equal(
    finished,
    perSecond.reduce((sum, count) => sum + count, 0),
  );
  return { changes, serving, engine };
}

const seconds = (count: number, rate: number) => Array.from({ length: count }, () => rate);

test("units start under a load that rises and go when it has fallen, and no request fails", async () => {
  const { changes, serving, engine } = await serve([
    ...seconds(4, 5),
    ...seconds(16, 15),
    ...seconds(24, 1),
  ]);
  assert.equal(Math.max(...serving), 3);
  assert.equal(serving.at(-1), 1);
  assert.equal(serving[0], 1);
  const decode = changes.filter(({ role }) => role === "decode");
  assert.deepEqual(
    decode.map(({ from, to }) => `${from}→${to}`),
    ["1→3", "3→2", "2→1"],
  );
  assert.match(
    decode[0].because,
    /^what 1\.\d\d units are aimed at is asked, and 2\.\d\d expected$/,
  );
  assert.match(decode[2].because, /^what 0\.\d\d units .* no more than 1 were needed for 10 s$/);
  assert.deepEqual(engine.scaling.countsOf("decode"), { up: 1, down: 2 });
  assert.deepEqual(engine.scaling.wanted, { prefill: 1, decode: 1 });
});

test("a load that flaps within the patience starts units once and ends none", async () => {
  const flapping = Array.from({ length: 8 }, () => [...seconds(3, 14), ...seconds(3, 2)]).flat();
  const { changes } = await serve(flapping);
  for (const role of ["prefill", "decode"]) {
    const own = changes.filter((each) => each.role === role);
    assert.ok(
      own.length >= 1 && own.length <= 2 && own.every(({ from, to }) => to > from),
      JSON.stringify(own),
    );
  }
});

test("ranks of other models take cores, on which no more units start", () => {
  for (const [free, wanted] of [
    [2, [{ combined: 3 }]],
    [1, [{ combined: 2 }]],
    [0, []],
  ] as const) {
    let decode = 0;
    const scaled: WantedUnits[] = [];
    const told: object[] = [];
    const engine: ScaledEngine = {
      get tokens() {
        return { prefill: 0, decode };
      },
      ...{ problems: [], scaling: { wanted: { combined: 1 }, room: 9 } },
      units: [{ unit: 0, role: "combined", state: "serving", ranks: [{ rank: 0, node: 0 }] }],
      scale: (units) => scaled.push(units),
    };
    const { most: _bound, ...unbound } = policy;
    const log = { warn: (what: object) => told.push(what), error: assert.fail };
    const others = () => usableCores() - 1 - free;
    const units = new LoadScaledUnits(engine, unbound, parseTopology("combined=1x1"), log, others);
    units.look(0);
    decode = 10 * 2 * 10 * ANSWER_TOKENS;
    units.look(2 * SECOND);
    assert.deepEqual(scaled, wanted, `${free} cores are free`);
    assert.equal(told.length, 1, "which is less than is asked for");
  }
});

test("a kind of unit that the engine refuses is an error in the log, and others are scaled", () => {
  let tokens = { prefill: 0, decode: 0 };
  const scaled: WantedUnits[] = [];
  const told: { wanted?: WantedUnits; problem?: string }[] = [];
  const unit = { state: "serving", ranks: [{ rank: 0, node: 0 }] } as const;
  const engine: ScaledEngine = {
    get tokens() {
      return tokens;
    },
    ...{ problems: [], scaling: { wanted: { prefill: 1, decode: 1 }, room: 9 } },
    units: [
      { unit: 0, role: "prefill", ...unit },
      { unit: 1, role: "decode", ...unit },
    ],
    scale: (units) => {
      if (units.prefill !== undefined) throw new RangeError("the engine has ended");
      scaled.push(units);
    },
  };
  const log = { warn: assert.fail, error: (what: object) => told.push(what) };
  const units = new LoadScaledUnits(engine, policy, parseTopology("prefill=1x1,decode=1x1"), log);
  units.look(0);
  tokens = { prefill: 2 * 15 * PROMPT_TOKENS, decode: 2 * 15 * ANSWER_TOKENS };
  units.look(2 * SECOND);
  assert.deepEqual(scaled, [{ decode: 2 }]);
  assert.equal(told.length, 1);
  const [{ wanted, problem }] = told;
  assert.deepEqual([wanted, problem], [{ prefill: 2 }, "the engine has ended"]);
});

test("a policy is read from the command line, and what is no policy is refused by name", () => {
  assert.deepEqual(scalePolicyOf({}), undefined);
  const text = "load,prefill=2000,decode=150.5,min=2,max=4,every=5s,patience=2m,slack=10%";
  assert.deepEqual(scalePolicyOf({ scalePolicy: text }), {
    carries: { prefill: 2000, decode: 150.5 },
    ...{ least: 2, most: 4, everyMs: 5000, patienceMs: 120_000, slack: 0.1 },
  });
  const short = scalePolicyOf({ scalePolicy: "load,prefill=1,decode=1" });
  assert.deepEqual([short?.least, short?.most, short?.everyMs], [1, undefined, 60_000]);
  for (const [said, message] of [
    ["load", /expected the tokens a second .* as in load,prefill=20000,decode=300/],
    ["clock", /expected load,prefill=20000,decode=300, got clock/],
    ["load,prefill=1", /expected the tokens a second/],
    ["load,prefill=1,decode=0", /--scale-policy: decode: expected a number from 0.001/],
    ["load,prefill=1,decode=1,most=3", /expected prefill=, decode=, min=, .* got "most=3"/],
    ["load,prefill=1,decode=1,prefill=2", /prefill is there twice/],
    ["load,prefill=1,decode=1,min=3,max=2", /max: expected a number from 3/],
    ["load,prefill=1,decode=1,max=1025", /^--scale-policy: max: expected a number from 1 to 1024/],
    ["load,prefill=1,decode=1,min=1025", /^--scale-policy: min: expected a number from 1 to 1024/],
    ["load,prefill=1,decode=1,every=5", /every: expected a time such as/],
  ] as const) {
    assert.throws(
      () => scalePolicyOf({ scalePolicy: said }),
      { name: "UsageError", message },
      said,
    );
  }
  assert.throws(() => scalePolicyOf({ scalePolicy: "load", scaleSchedule: "file" }), {
    message: "--scale-policy: expected one of --scale-schedule and --scale-policy",
  });
});
