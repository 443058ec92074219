import assert from "node:assert/strict";
import { test } from "node:test";
import { gaussian, randomSource } from "../kernels/index.ts";
import { meanSquare, MlpStage } from "./mlp-stage.ts";

const hidden = 4;
const rows = 3;

test("gradients are the slopes of the loss", () => {
  const random = randomSource(3);
  const weights = {
    up: gaussian(random, 4 * hidden * hidden, 0.5),
    down: gaussian(random, 4 * hidden * hidden, 0.5),
  };
  const input = gaussian(random, rows * hidden);
  const label = gaussian(random, rows * hidden);
  const loss = () => meanSquare(new MlpStage(weights, hidden).forward(input).output, label).loss;

  const stage = new MlpStage(weights, hidden);
  const { output, kept } = stage.forward(input);
  const { inputGradient, gradients } = stage.backwardInputs(
    kept,
    meanSquare(output, label).gradient,
  );
  stage.backwardWeights(kept, gradients);

  const pairs = [
    { values: input, slopes: inputGradient },
    { values: weights.up, slopes: stage.gradients.up },
    { values: weights.down, slopes: stage.gradients.down },
  ];
  const step = 2 ** -7;
  for (const { values, slopes } of pairs) {
    for (const [i, value] of values.entries()) {
      values[i] = value + step;
      const above = loss();
      values[i] = value - step;
      const below = loss();
      values[i] = value;
      const slope = (above - below) / (2 * step);
      assert.ok(
        Math.abs(slope - slopes[i]) < 2e-3 * (1 + Math.abs(slope)),
        `${slope} ${slopes[i]}`,
      );
    }
  }
});

test("a second micro-batch is added to the gradients of the first", () => {
  const random = randomSource(4);
  const weights = { up: gaussian(random, 64), down: gaussian(random, 64) };
  const batches = [gaussian(random, rows * hidden), gaussian(random, rows * hidden)];
  const gradientsOf = (inputs: readonly Float32Array[]) => {
    const stage = new MlpStage(weights, hidden);
    for (const input of inputs) {
      const { output, kept } = stage.forward(input);
      stage.backwardWeights(kept, stage.backwardInputs(kept, output).gradients);
    }
    return stage.gradients;
  };
  const [first, second] = batches.map((input) => gradientsOf([input]));
  assert.deepEqual(
    gradientsOf(batches).up,
    first.up.map((value, i) => value + second.up[i]),
  );
});
