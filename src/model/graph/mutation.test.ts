import assert from "node:assert/strict";
import { test } from "node:test";
import {
  SCALE_BLOCK,
  type GateRule,
  type MlaShape,
  type Rope,
  type Stream,
  type Weight,
} from "../../kernels/index.ts";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { readConfig, type ModelConfig } from "../checkpoint/config.ts";
import { changedKernels, largestDifference, tinyFixtures } from "../fixtures.ts";
import { Model } from "./model.ts";
import { SingleSequence } from "./single-sequence.ts";
import { modelWeights, type ModelWeights } from "../checkpoint/weights.ts";

/**
 * A test of the parity tests: each silent bug seen in other implementations, injected here, must
 * move the logits of some fixture far beyond the parity tolerance of 1e-4.
 */
interface Mutation {
  readonly operations?: (stream: Stream, config: ModelConfig) => Partial<Stream>;
  readonly config?: (config: ModelConfig) => ModelConfig;
  readonly weights?: (weights: ModelWeights) => ModelWeights;
}

const detectable = 1e-3;

const withRope = (change: (rope: Rope, config: ModelConfig) => Rope): Mutation => ({
  operations: (stream, config) => ({
    ropeQuery: (q, shape, rope, layout) => stream.ropeQuery(q, shape, change(rope, config), layout),
    writeKv: (cache, x, gain, epsilon, shape, rope, layout) =>
      stream.writeKv(cache, x, gain, epsilon, shape, change(rope, config), layout),
  }),
});

const withShape = (change: (shape: MlaShape) => MlaShape): Mutation => ({
  operations: (stream) => ({
    attention: (out, absorbed, q, cache, shape, layout) =>
      stream.attention(out, absorbed, q, cache, change(shape), layout),
  }),
});

const withRule = (change: (rule: GateRule) => GateRule): Mutation => ({
  operations: (stream) => ({
    route: (ids, weights, logits, bias, rule, rows) =>
      stream.route(ids, weights, logits, bias, change(rule), rows),
  }),
});

const valuesOf = new Map<Weight, Float32Array>();

/** A vector's values, read through the public embedding operation. */
function vectorValues(stream: Stream, weight: Weight): Float32Array {
  let values = valuesOf.get(weight);
  if (!values) {
    values = new Float32Array(weight.shape[0]);
    stream.embed(values, { ...weight, shape: [1, weight.shape[0]] }, Int32Array.of(0), 1);
    valuesOf.set(weight, values);
  }
  return values;
}

const mutations: Record<string, Mutation> = {
  "rotates halves instead of adjacent pairs": withRope((rope) => ({ ...rope, interleaved: false })),
  "ignores YaRN's frequencies": withRope((rope, config) => ({
    ...rope,
    frequencies: rope.frequencies.map((_, i) => config.rope.theta ** ((-2 * i) / config.ropeWidth)),
  })),
  "leaves mscale² out of the softmax scale": withShape((shape) => ({
    ...shape,
    scale: (shape.nope + shape.rope) ** -0.5,
  })),
  "routes without the bias": {
    operations: (stream) => ({
      route: (ids, weights, logits, _bias, rule, rows) =>
        stream.route(ids, weights, logits, undefined, rule, rows),
    }),
  },
  "weighs experts by their biased score": {
    operations: (stream) => ({
      route(ids, weights, logits, bias, rule, rows) {
        stream.route(ids, weights, logits, bias, rule, rows);
        if (!bias) return;
        const values = vectorValues(stream, bias);
        for (let pair = 0; pair < rows * rule.topK; pair++) {
          weights[pair] += values[ids[pair]] * rule.scale;
        }
      },
    }),
  },
  "has no group limit": withRule((rule) => ({ ...rule, groups: 1, topGroups: 1 })),
  "scores a group by its best expert": withRule((rule) =>
    rule.method === "noaux_tc" ? { ...rule, method: "group_limited_greedy" } : rule,
  ),
  "forgets the routed scaling factor": withRule((rule) => ({ ...rule, scale: 1 })),
  "does not normalise the weights": withRule((rule) => ({ ...rule, normalise: false })),
  "forgets the shared expert": {
    weights: (weights) => ({
      ...weights,
      layers: weights.layers.map((layer) =>
        layer.ffn.kind === "dense" ? layer : { ...layer, ffn: { ...layer.ffn, shared: undefined } },
      ),
    }),
  },
  "splits kv_b as all keys, then all values": {
    operations: (stream) => ({
      absorbQuery: (out, q, kvB, shape, rows) => {
        const rowsOfKeys = shape.heads * shape.nope;
        const { scale } = kvB;
        const keys = {
          ...{ ...kvB, shape: [rowsOfKeys, shape.latent] },
          ...(scale && {
            scale: { ...scale, shape: [Math.ceil(rowsOfKeys / SCALE_BLOCK), scale.shape[1]] },
          }),
        };
        const width = shape.nope + shape.rope;
        for (let row = 0; row < rows; row++) {
          const query = q.subarray(row * shape.heads * width, (row + 1) * shape.heads * width);
          const target = out.subarray(row * shape.heads * shape.latent);
          stream.absorbQuery(target, query, keys, { ...shape, value: 0 }, 1);
        }
      },
    }),
  },
  "ignores the query latent's norm gain": {
    operations: (stream) => ({
      rmsNorm(out, x, gain, epsilon, rows) {
        stream.rmsNorm(out, x, gain, epsilon, rows);
        if (!gain.name.includes("q_a_layernorm")) return;
        const values = vectorValues(stream, gain);
        for (let i = 0; i < rows * values.length; i++) out[i] /= values[i % values.length];
      },
    }),
  },
  "masks excluded groups with 0 instead of −∞": {
    operations: (stream) => ({
      route(ids, weights, logits, bias, rule, rows) {
        stream.route(ids, weights, logits, bias, rule, rows);
        if (rule.method !== "noaux_tc" || !bias) return;
        const values = vectorValues(stream, bias);
        for (let row = 0; row < rows; row++) {
          maskWithZero(ids, weights, logits, values, rule, row);
        }
      },
    }),
  },
  "normalises latents with the block's epsilon": {
    config: (config) => ({ ...config, latentNormEpsilon: 1e-5 }),
  },
};

/** Chooses again with excluded groups scored 0, as DeepSeek's repository did until 2025-02-14. */
function maskWithZero(
  ids: Int32Array,
  weights: Float32Array,
  logits: Float32Array,
  bias: Float32Array,
  rule: GateRule,
  row: number,
): void {
  const { experts, topK } = rule;
  const size = experts / rule.groups;
  const scores = Array.from(
    logits.subarray(row * experts, (row + 1) * experts),
    (x) => 1 / (1 + Math.exp(-x)),
  );
  const choice = scores.map((score, e) => score + bias[e]);
  const groupScore = (g: number) =>
    choice
      .slice(g * size, (g + 1) * size)
      .sort((a, b) => b - a)
      .slice(0, 2)
      .reduce((a, b) => a + b);
  const groups = Array.from({ length: rule.groups }, (_, g) => g);
  const kept = new Set(
    groups.sort((a, b) => groupScore(b) - groupScore(a)).slice(0, rule.topGroups),
  );
  const masked = choice.map((value, e) => (kept.has(Math.floor(e / size)) ? value : 0));
  const chosen = masked
    .map((_, e) => e)
    .sort((a, b) => masked[b] - masked[a])
    .slice(0, topK);
  chosen.sort((a, b) => a - b);
  const sum = chosen.reduce((total, e) => total + scores[e], 0);
  chosen.forEach((e, j) => {
    ids[row * topK + j] = e;
    weights[row * topK + j] = (scores[e] / (rule.normalise ? sum : 1)) * rule.scale;
  });
}

/** Largest logit difference each fixture shows under a mutation. */
async function differences(mutation: Mutation): Promise<number[]> {
  const found: number[] = [];
  for (const fixture of tinyFixtures()) {
    const config = await readConfig(fixture.directory);
    const weights = modelWeights(await openCheckpoint(fixture.directory), config);
    const kernels = changedKernels((stream) => mutation.operations?.(stream, config) ?? {});
    const model = new Model(
      mutation.config?.(config) ?? config,
      mutation.weights?.(weights) ?? weights,
      { kernels, policy: "f32", maxRows: 64 },
    );
    const logits = await new SingleSequence(model, 64).append(fixture.tokens);
    const expected = fixture.golden.get("logits");
    assert.ok(expected);
    found.push(largestDifference(logits, expected));
  }
  return found;
}

test("without a mutation every fixture agrees", async () => {
  assert.ok(Math.max(...(await differences({}))) < 1e-4);
});

for (const [name, mutation] of Object.entries(mutations)) {
  test(`parity notices a model that ${name}`, async () => {
    const largest = Math.max(...(await differences(mutation)));
    assert.ok(largest > detectable, `largest logit difference ${largest}`);
  });
}
