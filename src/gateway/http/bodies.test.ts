import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { ApiError } from "../errors.ts";
import { Bodies } from "./bodies.ts";

const KB = 2 ** 10;
const limits = { bodyBytes: 400 * KB, allBodiesBytes: 1000 * KB, bodyMs: 1000 };

/** A body whose end its client keeps back until it is told to go on. */
function withheld(bytes: number) {
  let goOn = () => {};
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(bytes));
      goOn = () => controller.close();
    },
  });
  const request = new Request("http://localhost/", { method: "POST", body, duplex: "half" });
  return { request, goOn };
}

const codeOf = (error: unknown) => (error instanceof ApiError ? error.code : String(error));

test("bodies that are being read hold no more together than they may, and give it back", async () => {
  const refused: string[] = [];
  const bodies = new Bodies(limits, (reason) => refused.push(reason));
  const clients = Array.from({ length: 20 }, () => withheld(300 * KB));
  const readings = clients.map(({ request }) =>
    bodies.hold(request, (bytes) => bytes.length).catch(codeOf),
  );
  await setImmediate();
  assert.equal(bodies.heldBytes, 900 * KB);
  for (const { goOn } of clients.slice(0, 3)) goOn();
  const outcomes = await Promise.all(readings);
  assert.deepEqual(outcomes.slice(0, 4), [300 * KB, 300 * KB, 300 * KB, "bodies_full"]);
  assert.equal(refused.length, 17);
  assert.equal(bodies.heldBytes, 0);
  const after = withheld(300 * KB);
  after.goOn();
  assert.equal(await bodies.hold(after.request, (bytes) => bytes.length), 300 * KB);
});

test("a small body of a stated length counts from its first byte", async () => {
  const bodies = new Bodies({ ...limits, allBodiesBytes: 100 * KB });
  const { request, goOn } = withheld(60 * KB);
  const stated = () =>
    new Request(request.clone(), { headers: { "content-length": `${60 * KB}` } });
  const first = bodies.hold(stated(), () => "read");
  assert.equal(await bodies.hold(stated(), () => "read").catch(codeOf), "bodies_full");
  goOn();
  assert.equal(await first, "read");
});

test("a body that does not come in time is refused, and what comes later is not kept", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const refused: string[] = [];
  const bodies = new Bodies(limits, (reason) => refused.push(reason));
  const { request } = withheld(300 * KB);
  const reading = bodies.hold(request, () => "read").catch(codeOf);
  await setImmediate();
  t.mock.timers.tick(1000);
  assert.equal(await reading, "body_late");
  assert.deepEqual([refused, bodies.heldBytes], [["body_late"], 0]);
});

test("a body that fails or is too large gives back what it held", async () => {
  const bodies = new Bodies(limits);
  const broken = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(10));
      controller.error(new Error("gone"));
    },
  });
  const request = new Request("http://localhost/", {
    method: "POST",
    body: broken,
    duplex: "half",
  });
  await assert.rejects(
    bodies.hold(request, () => "read"),
    { name: "ClientGone" },
  );
  const large = withheld(401 * KB);
  assert.equal(await bodies.hold(large.request, () => "read").catch(codeOf), "body_too_large");
  assert.equal(bodies.heldBytes, 0);
});
