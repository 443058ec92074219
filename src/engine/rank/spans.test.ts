import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import {
  createKernels,
  createNativeKernels,
  createReferenceKernels,
  greedySampling,
  nativeProblem,
  type Kernels,
} from "../../kernels/index.ts";
import { changedKernels, tinyFixtures } from "../../model/fixtures.ts";
import { loadModel } from "../../model/index.ts";
import { tickingClock } from "../../trace/fixtures.ts";
import {
  activityOf,
  clockSince,
  NO_LAYER,
  spanNames,
  SpanRecorder,
  type Clock,
  type SpanName,
} from "../../trace/index.ts";
import { maskColumnsOf } from "../mask-columns.ts";
import { request } from "../api/fixtures.ts";
import { EngineCore } from "./core.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const PROMPT_TOKENS = 5;
const GENERATED_TOKENS = 3;

/** Spans of a short generation; the model, too, for what it is made of. */
async function trace(kernels: Kernels = createReferenceKernels(), clock: Clock = tickingClock()) {
  const tracer = new SpanRecorder({ node: 0, rank: 0, clock });
  const model = await loadModel(fixture.directory, { kernels, policy: "f32", maxRows: 64, tracer });
  const core = new EngineCore({ model, pages: 4 });
  core.submit(0, {
    id: "r",
    tenant: "",
    prompt: fixture.tokens.slice(0, PROMPT_TOKENS),
    choice: 0,
    maxTokens: GENERATED_TOKENS,
    stopTokens: [],
    sampling: greedySampling,
  });
  while (!core.idle) await core.step();
  const { names, starts, ends, layers, steps, rows } = tracer.take();
  const spans = [...names].map((name, i) => ({
    name: spanNames[name],
    start: starts[i],
    end: ends[i],
    layer: layers[i],
    step: steps[i],
    rows: rows[i],
  }));
  return { spans, config: model.config };
}

test("every step has each layer's stages in their order", async () => {
  const { spans, config } = await trace();
  assert.ok(config.firstDense > 0 && config.firstDense < config.layers);
  const stages: [SpanName, number][] = [["EMBED", NO_LAYER]];
  for (let layer = 0; layer < config.layers; layer++) {
    const dense = layer < config.firstDense;
    const names: SpanName[] = dense ? ["ATTN", "MLP"] : ["ATTN", "GATE", "SHARED", "MLP", "REDUCE"];
    stages.push(...names.map((name): [SpanName, number] => [name, layer]));
  }
  stages.push(["HEAD", NO_LAYER], ["SAMPLE", NO_LAYER]);
  for (let step = 0; step < GENERATED_TOKENS; step++) {
    const own = spans.filter((span) => span.step === step);
    assert.deepEqual(
      own.map(({ name, layer }) => [name, layer]),
      [["STEP", NO_LAYER], ...stages],
    );
    const rows = step === 0 ? PROMPT_TOKENS : 1;
    for (const span of own) {
      assert.equal(span.rows, ["HEAD", "SAMPLE"].includes(span.name) ? 1 : rows, span.name);
    }
  }
});

function assertApart(spans: Awaited<ReturnType<typeof trace>>["spans"]): void {
  for (const step of spans.filter(({ name }) => name === "STEP")) {
    let free = step.start;
    for (const { name, start, end } of spans) {
      if (name === "STEP" || start < step.start || start > step.end) continue;
      assert.ok(free < start && start < end && end < step.end, `${name} ${start}..${end}`);
      free = end;
    }
  }
}

test("stages lie inside their step and do not overlap", async () => {
  const { spans } = await trace();
  assertApart(spans);
});

test(
  "a native stream times stages itself, in the order of the reference's",
  { skip: nativeProblem() ?? false },
  async () => {
    const [native, reference] = [
      await trace(createNativeKernels(), clockSince(Date.now())),
      await trace(),
    ].map(({ spans }) => spans);
    assertApart(native);
    const stages = (spans: typeof native) => spans.map(({ name, layer }) => [name, layer]);
    assert.deepEqual(stages(native), stages(reference));
  },
);

test("a step that fails ends, and so do the stages before the failure", async () => {
  const { spans } = await trace(
    changedKernels(() => ({
      route: () => {
        throw new Error("no route");
      },
    })),
  );
  const open = spans.filter(({ end }) => Number.isNaN(end)).map(({ name }) => name);
  assert.deepEqual(open, ["GATE"]);
  assert.ok(spans[0].name === "STEP" && spans[0].end > spans[1].end);
});

test("what a rank waits for is a span of its own time, also where a stream times the others", async () => {
  for (const kernels of [createReferenceKernels(), createKernels()]) {
    const tracer = new SpanRecorder({ node: 0, rank: 0, clock: clockSince(Date.now()) });
    const options = { kernels, policy: "f32", maxRows: 64, tracer } as const;
    const model = await loadModel(fixture.directory, options);
    const core = new EngineCore({ model, pages: 4 });
    const prompt = fixture.tokens.slice(0, PROMPT_TOKENS);
    const mask = new Uint32Array(Math.ceil(model.config.vocabSize / 32)).fill(0xffffffff);
    core.submit(0, request(prompt, { maxTokens: 2, mask }));
    const events = (await core.step()).map(({ event }) => event);
    const step = core.step();
    await turn();
    const [after] = events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
    const places = [{ after, slot: 0, allowed: mask }];
    core.allow(maskColumnsOf([{ handle: 0, position: prompt.length + 1, places }]));
    await step;
    core.expect(1, { ...request([]), prompt: Uint32Array.from(prompt) }, 7);
    const waiting = core.step();
    await turn();
    core.cancel(1);
    await waiting;
    const { names, starts, ends } = tracer.take();
    const waits = [...names].flatMap((name, i) =>
      activityOf(spanNames[name]) === "waiting" ? [{ name: spanNames[name], i }] : [],
    );
    assert.deepEqual(
      waits.map(({ name }) => name),
      ["MASK", "KV"],
    );
    for (const { i } of waits) assert.ok(ends[i] >= starts[i] && starts[i] > 0);
  }
});
