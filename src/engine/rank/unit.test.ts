import assert from "node:assert/strict";
import { test } from "node:test";
import { createSharedSegments, SharedMemoryTransport } from "../../cluster/index.ts";
import { UnitClock } from "./unit.ts";

test("what a step waits for after its logits is not the order's fault", async () => {
  const transport = new SharedMemoryTransport(createSharedSegments([0]), 0);
  let now = 0;
  let waited = 0;
  const options = { overlap: "auto", now: () => now, waitedMs: () => waited } as const;
  const unit = new UnitClock(transport, [0], options);
  const orders: string[] = [];
  for (let step = 0; step < 40; step++) {
    await unit.join({ rows: 32, hasPrompts: false });
    orders.push(unit.order);
    const isWhole = unit.order === "whole";
    now += isWhole ? 10 : 12;
    waited += isWhole ? 3 : 1;
    unit.computed();
    // Masks, which only whole steps had to wait for.
    now += isWhole ? 1000 : 0;
    unit.computed();
  }
  assert.deepEqual(orders.slice(0, 4), ["whole", "whole", "decode", "whole"]);
  assert.ok(orders.slice(4).filter((order) => order === "whole").length > 30, orders.join());
  transport.close();
});

test("a unit that waits for no rows never tries overlap", async () => {
  const transport = new SharedMemoryTransport(createSharedSegments([0]), 0);
  let now = 0;
  const unit = new UnitClock(transport, [0], { overlap: "auto", now: () => now });
  for (let step = 0; step < 40; step++) {
    await unit.join({ rows: 32, hasPrompts: step % 2 === 0 });
    assert.equal(unit.order, "whole");
    now += 10;
    unit.computed();
  }
  transport.close();
});
