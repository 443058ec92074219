import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { backends } from "../../kernels/testing/fixtures.ts";
import { policies, storedOperand, type Kernels, type Operand } from "../../kernels/index.ts";
import {
  changedKernels,
  fixtureDirectory,
  largestDifference,
  tinyFixtures,
  type Fixture,
} from "../fixtures.ts";
import { loadModel, type Model } from "./model.ts";
import { argmax, SingleSequence } from "./single-sequence.ts";

const tolerance = 1e-4;
const maxRows = 64;

async function greedy(model: Model, prompt: readonly number[], count: number): Promise<number[]> {
  const sequence = new SingleSequence(model, prompt.length + count);
  const vocabulary = model.config.vocabSize;
  let logits = await sequence.append(prompt);
  const tokens: number[] = [];
  for (let i = 0; i < count; i++) {
    tokens.push(argmax(logits.subarray(logits.length - vocabulary)));
    if (i + 1 < count) logits = await sequence.append(tokens.slice(-1));
  }
  return tokens;
}

/** Ids chosen by each routed layer, in the order of the layers, once the step is done. */
function recordingKernels(kernels: Kernels, chosen: Int32Array[]): Kernels {
  return changedKernels(
    (stream) => ({
      route(ids, weights, logits, bias, rule, rows) {
        stream.route(ids, weights, logits, bias, rule, rows);
        const copy = new Int32Array(rows * rule.topK);
        const asRows = ({ buffer, byteOffset }: Int32Array): Operand => {
          const values = new Float32Array(buffer, byteOffset, rows * rule.topK);
          return storedOperand(values, rule.topK);
        };
        // A stream computes later and reuses ids: it is to copy them itself.
        const all = Int32Array.from({ length: rows }, (_, row) => row);
        stream.gather(asRows(copy), asRows(ids), all, rows);
        chosen.push(copy);
      },
    }),
    kernels,
  );
}

function goldenRouting(fixture: Fixture): { ids: Int32Array; scores: Float32Array }[] {
  const layers: { ids: Int32Array; scores: Float32Array }[] = [];
  for (const [name, ids] of fixture.golden) {
    const layer = /^routing\.(\d+)\.ids$/.exec(name)?.[1];
    const scores = fixture.golden.get(`routing.${layer}.scores`);
    if (ids instanceof Int32Array && scores instanceof Float32Array) {
      layers[Number(layer)] = { ids, scores };
    }
  }
  return layers.filter(Boolean);
}

for (const { name: backend, create } of backends) {
  for (const fixture of tinyFixtures()) {
    test(`${fixture.name}: ${backend} logits, experts and 32 greedy tokens equal Hugging Face's float32`, async () => {
      const chosen: Int32Array[] = [];
      const kernels = recordingKernels(create(), chosen);
      const model = await loadModel(fixture.directory, { kernels, policy: "f32", maxRows });
      const sequence = new SingleSequence(model, maxRows);
      const logits = await sequence.append(fixture.tokens);
      const expected = fixture.golden.get("logits");
      assert.ok(expected);
      const difference = largestDifference(logits, expected);
      assert.ok(difference <= tolerance, `largest logit difference ${difference}`);

      const routing = goldenRouting(fixture);
      assert.equal(chosen.length, routing.length);
      routing.forEach(({ ids }, layer) => assert.deepEqual(chosen[layer], ids));
      assert.deepEqual(await greedy(model, fixture.tokens, 32), fixture.greedy);
    });
  }

  for (const name of ["v3-noyarn", "v3-yarn", "v2lite-like"]) {
    test(`${name}: ${backend} logits and 8 greedy tokens equal DeepSeek's own reference code`, async () => {
      const directory = fixtureDirectory(join("deepseek-tiny", name));
      assert.ok(directory);
      const golden = JSON.parse(readFileSync(join(directory, "golden.json"), "utf8"));
      const model = await loadModel(directory, { kernels: create(), policy: "f32", maxRows });
      for (const [i, prompt] of (golden.prompt_tokens as number[][]).entries()) {
        const logits = await new SingleSequence(model, maxRows).append(prompt);
        const expected = (golden.prefill_logits[i] as number[][]).flat();
        assert.ok(largestDifference(logits, expected) <= tolerance);
        const inputs = (golden.greedy_decode_input_tokens as number[][][]).map(
          (step) => step[i][0],
        );
        assert.deepEqual(await greedy(model, prompt, inputs.length), inputs);
      }
    });
  }

  // The reference, which is slow, multiplies row by row: a fixture of float weights and one of FP8's show it.
  const shown = tinyFixtures().filter(
    ({ name }) => backend !== "reference" || ["v3", "fp8"].includes(name),
  );
  for (const policy of policies) {
    test(`under ${policy} ${backend} chunks and single tokens give a prompt's logits bit for bit`, async () => {
      for (const fixture of shown) {
        const options = { kernels: create(), policy, maxRows };
        const model = await loadModel(fixture.directory, options);
        const whole = await new SingleSequence(model, maxRows).append(fixture.tokens);
        const { length } = fixture.tokens;
        for (const sizes of [
          [1, 7, maxRows],
          [length - 10, ...Array<number>(10).fill(1)],
        ]) {
          const sequence = new SingleSequence(model, maxRows);
          const parts: number[] = [];
          for (let at = 0, i = 0; at < length; at += sizes[i++]) {
            parts.push(...(await sequence.append(fixture.tokens.slice(at, at + sizes[i]))));
          }
          assert.deepEqual(Float32Array.from(parts), whole, fixture.name);
        }
      }
    });
  }
}
