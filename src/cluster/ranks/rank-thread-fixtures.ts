/** A thread that takes a rank's part in exchanges; it loads little, so that many can be started. */
import { parentPort, workerData } from "node:worker_threads";
import { type SharedSegments, SharedMemoryTransport } from "./shared-memory.ts";

interface PlannedMessage {
  readonly from: number;
  readonly to: number;
  readonly channel: number;
  readonly size: number;
}

export interface Exchange {
  readonly segments: SharedSegments;
  readonly messages: readonly PlannedMessage[];
}

/** Bytes that tell one message, and one place in it, from another. */
const content = (index: number, size: number) =>
  Uint8Array.from({ length: size }, (_, at) => index * 31 + at * 7 + (at >> 8));

/** As a whole, or in parts of any lengths. */
const cut = (bytes: Uint8Array, seed: number): Uint8Array | Uint8Array[] => {
  if (seed % 3 === 0) return bytes;
  const [first, second] = [(seed * 37) % (bytes.length + 1), (seed * 11) % (bytes.length + 1)];
  const [from, to] = [Math.min(first, second), Math.max(first, second)];
  return [bytes.subarray(0, from), bytes.subarray(from, to), bytes.subarray(to)];
};

/** A rank's part: sends everything at once, reads channel after channel, returns what was wrong. */
async function takePart(rank: number, { segments, messages }: Exchange): Promise<string[]> {
  const transport = new SharedMemoryTransport(segments, rank);
  const sends = messages.map(async ({ from, to, channel, size }, index) => {
    if (from === rank) await transport.send(to, channel, cut(content(index, size), index));
  });
  const wrong: string[] = [];
  const inbound = [...messages.entries()].filter(([, { to }]) => to === rank);
  // Sorted by channel: the last channel is not looked at before the first is finished.
  for (const [index, message] of inbound.sort(([, a], [, b]) => b.channel - a.channel)) {
    const got = await transport.receive(message.from, message.channel);
    if (Buffer.compare(got, content(index, message.size)) !== 0) wrong.push(`message ${index}`);
    if (index % 4 > 0) transport.release(got);
  }
  await Promise.all(sends);
  transport.close();
  return wrong;
}

const { rank } = workerData as { readonly rank: number };
parentPort?.on("message", (exchange: Exchange) => {
  void takePart(rank, exchange).then((wrong) => parentPort?.postMessage(wrong));
});
