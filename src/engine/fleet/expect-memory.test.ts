import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { usableMemory } from "../../kernels/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { Engine } from "../api/client.ts";
import { expectMemory } from "./expect-memory.ts";

const [{ directory: modelDirectory }] = tinyFixtures().filter(({ name }) => name === "fp8");
const GB = 1e9;
const some = { ranks: 4, kvMemoryBytes: 2 * GB, nodes: 1, modelDirectory } as const;

test("pools, threads and copies of the weights must fit, and each is told", async () => {
  await expectMemory([{ ...some, weights: "mapped" }], 8.1 * GB);
  await assert.rejects(expectMemory([{ ...some, weights: "mapped" }], 8 * GB), {
    name: "EngineError",
    message:
      "4 ranks do not fit this machine: 4 × 2.0 GB of KV (--kv-memory) + 0.067 GB for threads are " +
      "8.1 GB, but 8.0 GB are available",
  });
  const resident = { ...some, kvMemoryBytes: 1000, nodes: 2, weights: "resident" } as const;
  await expectMemory([resident], 0.08 * GB);
  await assert.rejects(
    expectMemory([resident], 0.067 * GB),
    /\+ 0\.00\d GB of weights \(--weights resident\)/,
  );
});

test("models beside each other must fit together, each of them told", async () => {
  const mapped = { ...some, weights: "mapped" } as const;
  const other = { ...mapped, ranks: 2, kvMemoryBytes: GB } as const;
  await expectMemory([mapped, other], 10.2 * GB);
  await assert.rejects(expectMemory([mapped, other], 10 * GB), {
    message:
      "6 ranks do not fit this machine: 4 × 2.0 GB + 2 × 1.0 GB of KV (--kv-memory) + 0.1 GB for " +
      "threads are 10.1 GB, but 10.0 GB are available",
  });
});

const engineOf = (topology: string, kvMemoryBytes: number, nodes = 1) =>
  Engine.start({
    ...{ modelDirectory, policy: "f32", kvMemoryBytes },
    ...{ topology: parseTopology(topology), nodes: { count: nodes } },
  });

test("an engine whose ranks together do not fit does not start, mapped weights or not", async () => {
  const most = usableMemory();
  const half = Math.min(most / 2, 2 ** 32);
  const ranks = Math.ceil(most / half) + 1;
  for (const nodes of [1, 2]) {
    await assert.rejects(engineOf(`combined=1x${ranks}`, half, nodes), {
      name: "EngineError",
      message: new RegExp(`^${ranks} ranks do not fit this machine: ${ranks} × `),
    });
  }
  const threads = Math.ceil(most / (16 * 2 ** 20));
  await assert.rejects(engineOf(`combined=1x${threads}`, 2 ** 20), /GB for threads/);
});

test("a pool larger than arrays can be is refused with the size that they can have", async () => {
  await assert.rejects(engineOf("combined=1x1", 2 ** 36), {
    name: "RangeError",
    message: /^--kv-memory: a rank of this model of 2 layers can use 8\.6 GB, got 68\.7 GB$/,
  });
});
