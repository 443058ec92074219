import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { after, suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { gaussian, randomSource } from "../inputs/index.ts";
import { WeightFolder } from "../testing/weight-folder.ts";
import { CommandRing } from "./command-ring.ts";
import { loadNative, type AddonStream } from "../native-addon.ts";
import { createNativeKernels, type NativeOptions } from "./native.ts";
import { createOperand } from "../quantize.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import type { Stream } from "../stream.ts";
import type { Weight } from "../weight.ts";

const { addon, problem } = loadNative();
const skip = problem ?? false;

if (isMainThread) defineTests();
else await multiplyWithoutEnd(workerData as Weight);

/** A worker's life: long commands, always more of them than have run. */
async function multiplyWithoutEnd(weight: Weight): Promise<void> {
  const stream = createNativeKernels({ threads: 2 }).createStream("w8a16");
  const [outputs, columns] = weight.shape;
  const x = createOperand("bf16", 64, columns);
  for (;;) {
    for (let i = 0; i < 8; i++) {
      stream.gemm(new Float32Array(64 * outputs), x, weight, 64);
    }
    parentPort?.postMessage("multiplying");
    await stream.fence();
  }
}

function defineTests(): void {
  const folder = new WeightFolder();
  after(() => folder.remove());

  function open(t: { after(run: () => void): void }, options: NativeOptions = {}): Stream {
    const stream = createNativeKernels(options).createStream("f32");
    t.after(() => stream.close());
    return stream;
  }

  test(
    "terminating a worker in the middle of a gemm ends its threads, again and again",
    {
      skip,
    },
    async () => {
      const { weight } = folder.create(randomSource(1), "BF16", [700, 900]);
      for (let round = 0; round < 12; round++) {
        const worker = new Worker(new URL(import.meta.url), { workerData: weight });
        await new Promise((resolve, reject) => {
          worker.once("message", resolve);
          worker.once("error", reject);
        });
        await sleep(round % 4);
        await worker.terminate();
      }
      assert.ok(addon);
      const stream = createNativeKernels({ threads: 2 }).createStream("f32");
      const { threads } = stream;
      stream.close();
      assert.equal(
        threads,
        createNativeKernels({ threads: 2 }).threads,
        "their cores are free again",
      );
    },
  );

  for (const atFence of [false, true]) {
    suite(`computing ${atFence ? "at fences" : "ahead"}`, () => {
      test(
        "a failed operation rejects its fence, and nothing after it runs",
        { skip },
        async (t) => {
          const stream = open(t, { atFence });
          const { weight } = folder.create(randomSource(2), "F32", [4, 8]);
          const x = new Float32Array(8).fill(1);
          stream.add(x, x, 8);
          stream.embed(new Float32Array(8), weight, Int32Array.of(4), 1);
          stream.add(x, x, 8);
          await assert.rejects(stream.fence(), /embed: tokens\[0\] is 4, expected 0 to 3/);
          assert.deepEqual(x, new Float32Array(8).fill(2));
          stream.add(x, x, 8);
          await assert.rejects(stream.fence(), /embed/);
        },
      );

      test(
        "a stream that was reset runs what is enqueued later, and only that",
        { skip },
        async (t) => {
          const stream = open(t, { atFence });
          const { weight } = folder.create(randomSource(2), "F32", [4, 8]);
          const x = new Float32Array(8).fill(1);
          for (let round = 0; round < 50; round++) {
            stream.embed(new Float32Array(8), weight, Int32Array.of(4), 1);
            for (let i = 0; i < 20; i++) stream.add(x, x, 8);
            if (round % 3 !== 0) await assert.rejects(stream.fence(), /embed/);
            // Without a fence the failure may come before the reset or after it.
            stream.reset();
            const [out, expected] = [new Float32Array(8), new Float32Array(8).fill(round)];
            stream.add(out, expected, 8);
            await stream.fence();
            assert.deepEqual([out, x], [expected, new Float32Array(8).fill(1)]);
          }
        },
      );

      test("whoever waits while a stream is reset is told", { skip }, async (t) => {
        const stream = open(t, { atFence });
        const x = new Float32Array(1_000_000);
        for (let i = 0; i < 50; i++) stream.add(x, x, x.length);
        const waiting = assert.rejects(stream.fence(), /the stream was reset before all had run/);
        stream.reset();
        await waiting;
        await stream.fence();
      });

      test("more commands than the ring holds wait for room, and all run", { skip }, async (t) => {
        const stream = open(t, { atFence });
        const x = new Float32Array(3);
        const one = new Float32Array(3).fill(1);
        for (let i = 0; i < 30000; i++) stream.add(x, one, 3);
        await stream.fence();
        assert.deepEqual(x, new Float32Array(3).fill(30000));
      });

      test("each caller of a fence waits for what was enqueued before", { skip }, async (t) => {
        const stream = open(t, { atFence });
        const x = new Float32Array(200_000);
        const one = new Float32Array(200_000).fill(1);
        const seen: number[] = [];
        const waits = Array.from({ length: 10 }, (_, i) => {
          for (let j = 0; j < 20; j++) stream.add(x, one, x.length);
          return stream.fence().then(() => {
            assert.ok(x[0] >= 20 * (i + 1));
            seen.push(i);
          });
        });
        await Promise.all(waits);
        assert.deepEqual(
          seen,
          seen.map((_, i) => i),
        );
      });

      test(
        "arrays that nobody else holds live until their command has run",
        { skip },
        async (t) => {
          setFlagsFromString("--expose-gc");
          const collect = runInNewContext("gc") as () => void;
          const stream = open(t, { atFence });
          const x = new Float32Array(100_000);
          for (let i = 0; i < 200; i++) {
            stream.add(x, new Float32Array(100_000).fill(1), x.length);
            if (i % 20 === 0) collect();
          }
          collect();
          await stream.fence();
          assert.ok(x.every((value) => value === 200));
        },
      );
    });
  }

  test("closing rejects those who wait, and whatever comes after", { skip }, async () => {
    const stream = createNativeKernels().createStream("w8a16");
    const { weight } = folder.create(randomSource(3), "BF16", [2000, 2000]);
    const x = createOperand("bf16", 32, 2000);
    for (let i = 0; i < 20; i++) stream.gemm(new Float32Array(64000), x, weight, 32);
    const waiting = assert.rejects(stream.fence(), /closed/);
    stream.close();
    stream.close();
    await waiting;
    await assert.rejects(stream.fence(), /closed/);
    assert.throws(() => stream.add(new Float32Array(1), new Float32Array(1), 1), /closed/);
  });

  test(
    "long work of a stream that computes at fences leaves the thread free",
    { skip },
    async (t) => {
      const stream = open(t, { atFence: true });
      const x = new Float32Array(1_000_000).fill(1);
      for (let i = 0; i < 50; i++) stream.add(x, x, x.length);
      let isDone = false;
      const done = stream.fence().then(() => (isDone = true));
      await Promise.resolve();
      assert.equal(isDone, false);
      await done;
      assert.ok(x.every((value) => value === 2 ** 50));
    },
  );

  test(
    "a stream that nobody holds settles those who wait, and is collected",
    {
      skip,
    },
    async () => {
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc") as () => void;
      const x = new Float32Array(1_000_000);
      const waiting = (() => {
        const stream = createNativeKernels().createStream("f32");
        for (let i = 0; i < 50; i++) stream.add(x, x, x.length);
        return stream.fence();
      })();
      collect();
      await waiting;
      const free = () => {
        const stream = createNativeKernels({ threads: 64 }).createStream("f32");
        const { threads } = stream;
        stream.close();
        return threads === createNativeKernels({ threads: 64 }).threads;
      };
      for (let i = 0; i < 50 && !free(); i++) {
        await sleep(10);
        collect();
      }
      assert.ok(free());
    },
  );

  test("a stream tells when it has run what came before", { skip }, async (t) => {
    for (const atFence of [false, true]) {
      const stream = open(t, { atFence });
      const at = new Float64Array(3);
      const x = new Float32Array(100_000);
      const microseconds = () => Number(process.hrtime.bigint()) / 1000;
      const began = microseconds();
      for (let i = 0; i < 3; i++) {
        stream.add(x, x, x.length);
        stream.stamp?.(at.subarray(i, i + 1), began);
      }
      await stream.fence();
      const ended = microseconds() - began;
      assert.ok(
        0 < at[0] && at[0] < at[1] && at[1] < at[2] && at[2] < ended,
        `${at.join()} of ${ended}`,
      );
    }
  });

  test("arrays may be tiny, shared, or parts of others", { skip }, async (t) => {
    const stream = open(t);
    const shared = new Float32Array(new SharedArrayBuffer(64)).subarray(3, 7);
    stream.add(shared, Float32Array.of(1, 2, 3, 4), 4);
    await stream.fence();
    assert.deepEqual([...shared], [1, 2, 3, 4]);
  });

  test("an array too short for its operation is refused when enqueued", { skip }, async (t) => {
    const stream = open(t);
    const x = new Float32Array(8);
    assert.throws(() => stream.add(x, new Float32Array(7), 8), {
      name: "RangeError",
      message: "add: y holds 7 values, 8 are needed",
    });
    structuredClone(x, { transfer: [x.buffer] });
    assert.throws(() => stream.add(x, new Float32Array(8), 8), /x holds 0 values/);
    await stream.fence();
  });

  test("an operation that the addon does not know is refused by name", { skip }, () => {
    assert.ok(addon);
    const other = { ...addon, operations: addon.operations.filter(({ name }) => name !== "add") };
    const ring = new CommandRing({ ...other, address: () => 0 });
    const stream = {} as AddonStream;
    const refused = /the native kernels know no (add|gemm: y); run `npm run build:native`/;
    assert.throws(() => ring.begin("add", stream), refused);
    ring.begin("gemm", stream);
    assert.throws(() => ring.number("y", 1), refused);
    ring.number("rows", 1);
    assert.throws(() => ring.publish(stream), /gemm: nothing was written for out, x\.format, x\./);
  });

  test("a weight that ends early is refused by tensor and file", { skip }, (t) => {
    const stream = open(t);
    const { weight } = folder.create(randomSource(1), "F8_E4M3", [4, 8]);
    const x = createOperand("f32", 1, 8);
    const tooLong = { ...weight, shape: [9, 8] };
    const multiply = (other: Weight) => stream.gemm(new Float32Array(9), x, other, 1);
    assert.throws(() => multiply(tooLong), /weight-\d+ needs 72 bytes.*holds 32/);
    assert.throws(() => multiply({ ...weight, file: "/nowhere/weights" }), /\/nowhere\/weights/);
    const narrow = { ...weight, shape: [4, 7] };
    assert.throws(() => multiply(narrow), /weight-\d+ has 7 columns, 8 are needed/);
  });

  test("scales may be BF16 in their file", { skip }, async (t) => {
    const random = randomSource(9);
    const { weight } = folder.create(random, "F8_E4M3", [130, 140]);
    const scale = folder.create(random, "BF16", [2, 2]).weight;
    const rescaled = { ...weight, scale };
    const x = createOperand("f32", 1, 140);
    x.values.set(gaussian(random, 140));
    const [actual, expected] = [new Float32Array(130), new Float32Array(130)];
    const stream = open(t);
    stream.gemm(actual, x, rescaled, 1);
    await stream.fence();
    createReferenceKernels().createStream("f32").gemm(expected, x, rescaled, 1);
    actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-4));
  });

  test("streams together keep to the cores, beyond one thread each", { skip }, () => {
    assert.ok(addon);
    for (const [wanted, running, cores, granted] of [
      [1, 0, 8, 1],
      [4, 0, 8, 4],
      [9, 0, 8, 8],
      [4, 6, 8, 2],
      [4, 8, 8, 1],
      [1, 9, 8, 1],
      [3, 0, 1, 1],
    ]) {
      assert.equal(addon.grantedThreads(wanted, running, cores), granted);
    }
    assert.throws(() => createNativeKernels({ threads: 0 }), /threads: .* got 0/);
  });

  const run = async (code: string, env: Record<string, string> = {}) => {
    const native = JSON.stringify(new URL("./native.js", import.meta.url));
    const script = `import { createNativeKernels } from ${native}; ${code}`;
    const directory = fileURLToPath(new URL(".", import.meta.url));
    return promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      ...{ cwd: directory, timeout: 20_000 },
      env: { ...process.env, ...env },
    });
  };

  test(
    "DAYSIX_ISA names a lower instruction set, and what the machine lacks is refused",
    {
      skip,
    },
    async () => {
      const code = "console.log(createNativeKernels().instructionSet)";
      assert.equal((await run(code, { DAYSIX_ISA: "portable" })).stdout, "portable\n");
      await assert.rejects(run(code, { DAYSIX_ISA: "altivec" }), /DAYSIX_ISA: this machine runs/);
    },
  );

  test(
    "an idle stream lets the process end, one that is waited for does not",
    {
      skip,
    },
    async () => {
      const { stdout } = await run(`
      const stream = createNativeKernels().createStream("f32");
      const x = new Float32Array(4e6).fill(1);
      for (let i = 0; i < 20; i++) stream.add(x, x, x.length);
      stream.fence().then(() => console.log(x[0]));`);
      assert.equal(stdout, `${2 ** 20}\n`);
    },
  );
}
