import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { stepWindows, type LayerTimes } from "./overlap-windows.ts";

const nothing: LayerTimes = {
  ...{ project: 0, attend: 0, shared: 0, experts: 0, reduce: 0, dispatch: 0, combine: 0 },
};
const layerTimes = fc.record({
  project: fc.nat(100),
  attend: fc.nat(100),
  shared: fc.nat(100),
  experts: fc.nat(100),
  reduce: fc.nat(100),
  dispatch: fc.nat(100),
  combine: fc.nat(100),
});
const computing = ({ project, attend, shared, experts, reduce }: LayerTimes) =>
  project + attend + shared + experts + reduce;
const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a}, ${b}`);

test("a step that does not overlap hides the shared expert's time, and what it waits is the rest", async () => {
  const layer = { ...nothing, project: 10, attend: 20, shared: 5, experts: 40, reduce: 1 };
  const flying = { ...layer, dispatch: 8, combine: 30 };
  assert.deepEqual(await stepWindows("whole", [flying, flying]), { milliseconds: 218, waited: 66 });
  // What is computed first sets out first.
  const { waited } = await stepWindows("whole", [flying, flying], 4);
  near(waited, 2 * (3 + 7.5));
});

test("a wire that carries one micro-batch's rows while the other is computed is waited for at a step's ends only", async () => {
  const layer = { ...nothing, attend: 100, experts: 100, dispatch: 100, combine: 100 };
  const layers = Array.from({ length: 50 }, () => layer);
  const whole = await stepWindows("whole", layers);
  const overlapped = await stepWindows("prefill", layers);
  assert.equal(whole.milliseconds, 50 * 400);
  assert.deepEqual(overlapped, { milliseconds: 50 * 200 + 50, waited: 50 });
});

test("no order computes less, and none waits longer than rows fly or shorter than the wire needs", async () => {
  const property = fc.asyncProperty(
    fc.array(layerTimes, { minLength: 1, maxLength: 6 }),
    fc.constantFrom("whole", "prefill", "decode"),
    fc.integer({ min: 1, max: 5 }),
    async (layers, order, pieces) => {
      const { milliseconds, waited } = await stepWindows(order, layers, pieces);
      const compute = sum(layers.map(computing));
      const wire = sum(layers.map(({ dispatch, combine }) => dispatch + combine));
      near(milliseconds, compute + waited);
      assert.ok(waited <= wire + 1e-6 && milliseconds >= wire - 1e-6);
    },
  );
  await fc.assert(property);
});
