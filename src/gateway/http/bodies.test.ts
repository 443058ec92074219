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
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new Uint8Array(bytes));
      goOn = () => controller.close();
    },
  });
  return { body: { headers: new Headers(), pieces: body }, goOn };
}

const codeOf = (error: unknown) => (error instanceof ApiError ? error.code : String(error));

test("bodies that are being read hold no more together than they may, and give it back", async () => {
  const refused: string[] = [];
  const bodies = new Bodies(limits, (reason) => refused.push(reason));
  const clients = Array.from({ length: 20 }, () => withheld(300 * KB));
  const readings = clients.map(({ body }) =>
    bodies.hold(body, (bytes) => bytes.length).catch(codeOf),
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
  assert.equal(await bodies.hold(after.body, (bytes) => bytes.length), 300 * KB);
});

test("a body that does not come in time is refused, and what comes later is not kept", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const refused: string[] = [];
  const bodies = new Bodies(limits, (reason) => refused.push(reason));
  const { body } = withheld(300 * KB);
  const reading = bodies.hold(body, () => "read").catch(codeOf);
  await setImmediate();
  t.mock.timers.tick(1000);
  assert.equal(await reading, "body_late");
  assert.deepEqual([refused, bodies.heldBytes], [["body_late"], 0]);
});

test("a body that fails or is too large gives back what it held", async () => {
  const bodies = new Bodies(limits);
  const pieces = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new Uint8Array(10));
      controller.error(new Error("gone"));
    },
  });
  await assert.rejects(
    bodies.hold({ headers: new Headers(), pieces }, () => "read"),
    { name: "ClientGone" },
  );
  const large = withheld(401 * KB);
  assert.equal(await bodies.hold(large.body, () => "read").catch(codeOf), "body_too_large");
  assert.equal(bodies.heldBytes, 0);
});

test("of all bodies at most one further piece is taken on each turn of the event loop", async () => {
  const bodies = new Bodies(limits);
  const pieces = async function* () {
    for (let piece = 0; piece < 3; piece++) yield new Uint8Array(KB);
  };
  const readings = Promise.all(
    Array.from({ length: 4 }, () =>
      bodies.hold({ headers: new Headers(), pieces: pieces() }, (bytes) => bytes.length),
    ),
  );
  const held: number[] = [];
  while (held.at(-1) !== 12 * KB) {
    await setImmediate();
    held.push(bodies.heldBytes);
  }
  assert.deepEqual(held.slice(0, 4), [4 * KB, 5 * KB, 6 * KB, 7 * KB]);
  assert.deepEqual(await readings, [3 * KB, 3 * KB, 3 * KB, 3 * KB]);
});
