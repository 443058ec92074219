import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../fixtures.ts";
import { fineClock } from "./fine-clock.ts";
import { parseWire, Wire } from "./wire.ts";

/** What becomes of messages of some sizes, each given at a time in milliseconds. */
function carried(text: string, given: readonly (readonly [at: number, bytes: number])[]) {
  const clock = new ManualClock();
  const wire = new Wire(parseWire(text), clock);
  const events: [what: string, index: number, at: number][] = [];
  for (const [index, [at, bytes]] of given.entries()) {
    clock.after(at, () =>
      wire.carry(bytes, {
        left: () => events.push(["left", index, clock.now()]),
        arrived: () => events.push(["arrived", index, clock.now()]),
      }),
    );
  }
  while (clock.advanceToNext());
  return events;
}

test("a frame leaves when the earlier ones have, and arrives a latency later", () => {
  // 1 Mbit/s: 125 bytes a millisecond.
  assert.deepEqual(
    carried("2ms,1Mbps", [
      [0, 125],
      [0, 250],
      [10, 125],
    ]),
    [
      ["left", 0, 1],
      ["arrived", 0, 3],
      ["left", 1, 3],
      ["arrived", 1, 5],
      ["left", 2, 11],
      ["arrived", 2, 13],
    ],
  );
});

test("a wire without a rate only delays", () => {
  const events = carried("500us", [
    [0, 1e9],
    [1, 1],
  ]);
  const arrived = events.filter(([what]) => what === "arrived");
  assert.deepEqual(
    arrived.map(([, index, at]) => [index, at]),
    [
      [0, 0.5],
      [1, 1.5],
    ],
  );
});

test("frames arrive in the order given, and take as long together as their bytes", () => {
  const frames = fc.array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.nat(1_000_000)), {
    minLength: 1,
    maxLength: 20,
  });
  const property = fc.property(frames, (drawn) => {
    const inOrder = drawn.toSorted(([a], [b]) => a - b);
    const arrived = carried("1ms,8Mbps", inOrder).filter(([what]) => what === "arrived");
    assert.deepEqual(
      arrived.map(([, index]) => index),
      inOrder.map((_, index) => index),
    );
    // 1,000 bytes a millisecond.
    const busy = inOrder.reduce((sum, [, bytes]) => sum + bytes / 1000, 0);
    const last = arrived.at(-1)?.[2] ?? 0;
    assert.ok(last >= 1 + busy - 1e-6 && last <= 1 + 50 + busy + 1e-6);
  });
  fc.assert(property);
});

test("a wire is written as its latency and its rate", () => {
  assert.deepEqual(parseWire("200us,10Gbps"), { latencyMs: 0.2, bitsPerSecond: 1e10 });
  assert.deepEqual(parseWire("1.5Mbps"), { latencyMs: 0, bitsPerSecond: 1.5e6 });
  for (const wrong of ["", "200", "10Gbit", "1ms,2ms", "1Gbps,", "0Gbps", "-1ms"]) {
    assert.throws(() => parseWire(wrong), /expected a latency, a rate or both/, wrong);
  }
});

test("fine timers fire in order, none early, and not once taken back", async (t) => {
  const clock = fineClock();
  // Fine timers keep no process alive.
  const alive = setInterval(() => undefined, 1000);
  t.after(() => {
    clearInterval(alive);
    clock.close();
  });
  const fired: { earliest: number; latest: number; at: number }[] = [];
  const delays = [3, 0.2, 1, 0.2, 0];
  await new Promise<void>((resolve) => {
    for (const delay of delays) {
      const due = { earliest: clock.now() + delay, latest: Infinity };
      clock.after(delay, () => fired.push({ ...due, at: clock.now() }));
      due.latest = clock.now() + delay;
    }
    const cancel = clock.after(0.5, () => assert.fail("was taken back"));
    cancel();
    clock.after(20, resolve);
  });
  assert.equal(fired.length, delays.length);
  for (const [i, { earliest, at }] of fired.entries()) {
    assert.ok(at > earliest - 0.1, `${earliest - at} ms early`);
    assert.ok(i === 0 || fired[i - 1].earliest <= fired[i].latest, `${i} before its time`);
  }
});
