import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { channels } from "../channels.ts";
import { controlFrames, MessageAssembler, Outbox, type RankMessage } from "./fragmentation.ts";
import {
  CONTROL_FRAME_BYTES,
  encodeHeader,
  type Frame,
  FrameDecoder,
  FrameError,
  freshRoom,
  MAXIMUM_CONTROL_BYTES,
  MAXIMUM_MESSAGE_BYTES,
  nodeFrame,
  type RoomFor,
} from "./frame.ts";
import { SpareMemory } from "./spare-memory.ts";

const encode = (frame: Frame) => Buffer.concat([encodeHeader(frame), frame.payload]);

/** Cuts bytes at the given places, in any order. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...sorted].map((start, index) => bytes.subarray(start, sorted[index] ?? bytes.length));
}

const decodeAll = (chunks: readonly Uint8Array[], roomFor?: RoomFor) => {
  const decoder = new FrameDecoder(roomFor);
  return chunks.flatMap((chunk) => [...decoder.decode(chunk)]);
};

const rank = fc.nat(0xffff_ffff);
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant("data" as const),
    from: rank,
    to: rank,
    channel: fc.nat(0xffff_ffff),
    remaining: fc.nat(1_000_000),
    payload: fc.uint8Array({ maxLength: 200 }),
  }),
  fc.uint8Array({ maxLength: 50 }).map((payload) => nodeFrame("control", payload)),
  fc.constant(nodeFrame("heartbeat")),
);

test("frames survive being cut into chunks anywhere", () => {
  const places = fc.array(fc.nat(5000), { maxLength: 30 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 10 }), places, (frames, at) => {
      const decoded = decodeAll(cut(Buffer.concat(frames.map(encode)), at));
      assert.deepEqual(
        decoded,
        frames.map((sent) => ({ ...sent, payload: new Uint8Array(sent.payload) })),
      );
    }),
  );
});

test("any other bytes are refused as such, or wait for more", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 24, maxLength: 100 }), (bytes) => {
      try {
        decodeAll([bytes]);
      } catch (error) {
        assert.ok(error instanceof FrameError);
      }
    }),
    { numRuns: 1000 },
  );
});

test("a control message longer than a frame is put together again", () => {
  const message = Uint8Array.from({ length: 2 * CONTROL_FRAME_BYTES + 5 }, (_, i) => i % 251);
  const bytes = controlFrames(message).map(encode);
  const frames = decodeAll(bytes);
  const assembler = new MessageAssembler();
  const whole = frames.map((each) => assembler.add(each));
  assert.deepEqual(whole.slice(0, 2), [undefined, undefined]);
  assert.ok(Buffer.from(message).equals(whole[2] as Uint8Array));
  assert.throws(() => controlFrames(new Uint8Array(MAXIMUM_CONTROL_BYTES + 1)), {
    name: "RangeError",
    message: /a control message holds at most 67108864 bytes, got 67108865/,
  });
});

const withHeader = (offset: number, bytes: readonly number[]) => {
  const header = encodeHeader({ ...nodeFrame("heartbeat"), type: "data" });
  header.set(bytes, offset);
  return header;
};

for (const [what, bytes, message] of [
  ["no type", withHeader(0, [0]), /expected a frame, got bytes that start with 00000000/],
  ["an unknown type", withHeader(0, [99]), /bytes that start with 63/],
  ["reserved bytes", withHeader(2, [1]), /bytes that start with 05000100/],
  ["another protocol", Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n"), /start with 47455420/],
  ["a long payload", withHeader(16, [0, 16]), /data frame of 1048576 bytes is over .* 131072/],
  ["a long message", withHeader(20, [255]), /message of 4278190080 bytes is over/],
] as const) {
  test(`a header with ${what} is refused before anything is kept of it`, () => {
    assert.throws(() => decodeAll([bytes]), { name: "FrameError", message });
  });
}

test("a frame over its type's limit cannot be made", () => {
  assert.throws(() => nodeFrame("hello", new Uint8Array(20_000)), /at most 16384 bytes/);
});

test("messages are put together as they were, those of a stream in order", () => {
  const size = fc.oneof(fc.nat(10), fc.constantFrom(0, 131_072, 131_073, 400_000));
  const sent = fc.record({ from: fc.nat(1), to: fc.nat(1), channel: fc.nat(2), size });
  fc.assert(
    fc.property(fc.array(sent, { maxLength: 12 }), (plan) => {
      const messages = plan.map(({ size: length, ...stream }, index) => ({
        ...stream,
        message: new Uint8Array(length).fill(index + 1),
      }));
      const outbox = new Outbox();
      let written = 0;
      for (const message of messages) outbox.push(message, () => written++);
      // Stable: within a stream the order counts.
      const byStream = (list: readonly RankMessage[]) =>
        [...list].sort((a, b) => a.from - b.from || a.to - b.to || a.channel - b.channel);
      assert.deepEqual(byStream(deliver(outbox)), byStream(messages));
      assert.equal(written, messages.length);
    }),
    { numRuns: 50 },
  );
});

/** Every third frame comes before anyone asks for its room, as the first may behind a handshake. */
function deliver(outbox: Outbox): RankMessage[] {
  const assembler = new MessageAssembler();
  const received: RankMessage[] = [];
  let frames = 0;
  for (let next = outbox.next(); next; next = outbox.next()) {
    const roomFor: RoomFor = frames++ % 3 === 0 ? freshRoom : (header) => assembler.room(header);
    const [arrived] = decodeAll([encode(next)], roomFor);
    const message = assembler.add(arrived);
    const { from, to, channel } = next;
    if (message) received.push({ from, to, channel, message });
    next.written?.();
  }
  return received;
}

function writeAll(outbox: Outbox): void {
  for (let next = outbox.next(); next; next = outbox.next()) next.written?.();
}

test("a long message lets those of other channels pass", () => {
  const outbox = new Outbox();
  const order: string[] = [];
  const stream = { from: 0, to: 1 };
  outbox.push({ ...stream, channel: 0, message: new Uint8Array(1_000_000) }, () =>
    order.push("long"),
  );
  outbox.push({ ...stream, channel: 1, message: new Uint8Array(10) }, () => order.push("short"));
  writeAll(outbox);
  assert.deepEqual(order, ["short", "long"]);
});

test("expert rows pass in the order sent, whichever micro-batch they are of", () => {
  const outbox = new Outbox();
  const order: string[] = [];
  const send = (name: string, channel: number, bytes: number) =>
    outbox.push({ from: 0, to: 1, channel, message: new Uint8Array(bytes) }, () =>
      order.push(name),
    );
  send("combine b", channels.combine(0), 1_000_000);
  send("dispatch a", channels.dispatch(1), 10);
  send("combine a", channels.combine(1), 200_000);
  send("step", channels.step, 10);
  writeAll(outbox);
  assert.deepEqual(order, ["step", "combine b", "dispatch a", "combine a"]);
});

/** The first frame of a message of so many bytes between two ranks. */
const beginning = (from: number, bytes: number): Frame => ({
  ...nodeFrame("data", new Uint8Array(8)),
  ...{ from, remaining: bytes - 8 },
});

for (const [what, begin] of [
  ["asked for room", (to: MessageAssembler, first: Frame) => to.room({ ...first, length: 8 })],
  ["came with a handshake", (to: MessageAssembler, first: Frame) => to.add(first)],
] as const) {
  test(`messages that ${what} are begun until they exceed what a link may hold`, () => {
    const assembler = new MessageAssembler(new SpareMemory(), 100_000);
    for (let from = 0; from < 3; from++) begin(assembler, beginning(from, 30_000));
    const refused = {
      name: "FrameError",
      message: /begun to come .* limit of 100000 bytes together/,
    };
    assert.throws(() => begin(assembler, beginning(3, 30_000)), refused);
  });
}

test("what a link may hold is free again when messages are whole", () => {
  const assembler = new MessageAssembler(new SpareMemory(), 100_000);
  for (let round = 0; round < 20; round++) {
    assert.equal(assembler.add(beginning(round, 60_000)), undefined);
    const rest = nodeFrame("data", new Uint8Array(59_992));
    assert.equal(assembler.add({ ...rest, from: round })?.length, 60_000);
  }
});

test("many short messages that do not end are too many as well", () => {
  const assembler = new MessageAssembler(new SpareMemory(), 100_000);
  assert.throws(() => {
    for (let from = 0; from < 1000; from++) assembler.add(beginning(from, 9));
  }, FrameError);
});

test("sixteen of the longest messages may come at once, and no more", () => {
  const spare = new SpareMemory();
  spare.take = () => new Uint8Array(8);
  const assembler = new MessageAssembler(spare);
  const begin = (from: number) =>
    assembler.room({ ...beginning(from, MAXIMUM_MESSAGE_BYTES), length: 8 });
  for (let from = 0; from < 16; from++) begin(from);
  assert.throws(() => begin(16), FrameError);
});

test("memory that cannot be had is the link's trouble, not the process's", () => {
  const spare = new SpareMemory();
  spare.take = () => {
    throw new RangeError("Array buffer allocation failed");
  };
  const assembler = new MessageAssembler(spare);
  const header = { ...beginning(0, 30_000), length: 8 };
  const refused = { name: "FrameError", message: "no memory for 30000 bytes of a message" };
  assert.throws(() => assembler.room(header), refused);
  assert.throws(() => assembler.room({ ...header, remaining: 0 }), { name: "FrameError" });
});

test("a frame that does not continue its message is refused", () => {
  const assembler = new MessageAssembler();
  const data = { ...nodeFrame("data", new Uint8Array(8)), remaining: 16 };
  assert.equal(assembler.add(data), undefined);
  assert.throws(() => assembler.add(data), /from rank 0 does not continue its message/);
  const empty = { ...nodeFrame("data"), channel: 1, remaining: 5 };
  assert.throws(() => assembler.add(empty), FrameError);
});
