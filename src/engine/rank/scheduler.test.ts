import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { greedySampling, PAGE_TOKENS } from "../../kernels/index.ts";
import { PagePool } from "../../kv-cache/index.ts";
import { Scheduler, type BlockSource, type StepPart } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";

function sequence(
  handle: number,
  prompt: readonly number[],
  maxTokens = 8,
  tenant = "",
  decodeRank?: number,
): Sequence {
  const request = {
    id: `${handle}`,
    tenant,
    prompt: Uint32Array.from(prompt),
    choice: 0,
    maxTokens,
    stopTokens: [],
    sampling: greedySampling,
  };
  return new Sequence(handle, request, decodeRank);
}

const tokensOf = (length: number, first = 0) => Array.from({ length }, (_, i) => first + i);

/** What each place of the pool holds: the tenant and all tokens up to it, as a KV entry does. */
class WrittenPool {
  readonly #places = new Map<number, string>();

  /** Writes a part's rows, then checks that its table holds exactly its context. */
  compute({ sequence: { tokens, pages, computed, request }, rows }: StepPart): void {
    const written = (position: number) =>
      `${request.tenant}:${tokens.slice(0, position + 1).join()}`;
    const place = (position: number) =>
      pages[Math.floor(position / PAGE_TOKENS)] * PAGE_TOKENS + (position % PAGE_TOKENS);
    for (let i = computed; i < computed + rows; i++) this.#places.set(place(i), written(i));
    for (let i = 0; i < computed + rows; i++) {
      assert.equal(this.#places.get(place(i)), written(i), `position ${i}`);
    }
  }
}

test("whatever arrives, leaves and runs out, each context is whole and everyone finishes", () => {
  const arrival = fc.record({
    at: fc.nat(12),
    length: fc.integer({ min: 1, max: 170 }),
    tenant: fc.constantFrom("a", "b"),
    start: fc.nat(1),
    maxTokens: fc.integer({ min: 1, max: 90 }),
    /** Steps until the client leaves. */
    patience: fc.option(fc.nat(20), { freq: 3 }),
  });
  fc.assert(
    fc.property(
      fc.array(arrival, { minLength: 1, maxLength: 7 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 5, max: 9 }),
      (arrivals, budget, pages) => {
        const pool = new PagePool(pages);
        const scheduler = new Scheduler(pool, budget);
        const kv = new WrittenPool();
        const live = new Set<Sequence>();
        const sequences = arrivals.map(({ length, start, maxTokens, tenant }, handle) =>
          sequence(handle, tokensOf(length, start), maxTokens, tenant),
        );
        const end = (one: Sequence) => {
          live.delete(one);
          scheduler.remove(one);
        };
        for (let step = 0; step <= 12 || live.size > 0; step++) {
          assert.ok(step < 4000, "everyone finishes");
          arrivals.forEach(({ at, patience }, i) => {
            if (at === step) {
              live.add(sequences[i]);
              scheduler.add(sequences[i]);
            }
            if (patience !== null && at + patience === step) end(sequences[i]);
          });
          const parts = scheduler.plan();
          assert.ok(parts.length > 0 || live.size === 0, "a step always does something");
          assert.ok(parts.reduce((sum, { rows }) => sum + rows, 0) <= budget);
          assert.equal(scheduler.running + scheduler.waiting, live.size);
          for (const part of parts) kv.compute(part);
          for (const part of parts) {
            const one = part.sequence;
            scheduler.complete(part);
            assert.equal(part.logitRows.length, one.remaining === 0 ? 1 : 0);
            if (one.remaining > 0) continue;
            one.append(1000 + one.tokens.length);
            if (one.generated === one.request.maxTokens) end(one);
          }
        }
        assert.equal(pool.inUse, 0);
      },
    ),
    { numRuns: 120 },
  );
});

test("next tokens come before prompt chunks, and prompts are served first come first", () => {
  const scheduler = new Scheduler(new PagePool(20), 16);
  const [a, b, c] = [sequence(0, tokensOf(5)), sequence(1, tokensOf(30)), sequence(2, tokensOf(3))];
  for (const one of [a, b, c]) scheduler.add(one);
  const rows = () =>
    scheduler.plan().map((part) => {
      scheduler.complete(part);
      if (part.sequence.remaining === 0) part.sequence.append(7);
      return [part.sequence.handle, part.rows];
    });
  assert.deepEqual(rows(), [
    [0, 5],
    [1, 11],
  ]);
  assert.deepEqual(rows(), [
    [0, 1],
    [1, 15],
  ]);
  assert.deepEqual(rows(), [
    [0, 1],
    [1, 4],
    [2, 3],
  ]);
  assert.deepEqual(rows(), [
    [0, 1],
    [1, 1],
    [2, 1],
  ]);
});

test("the newest sequence is preempted, keeps its tokens and is first in line again", () => {
  const pool = new PagePool(3);
  const scheduler = new Scheduler(pool, 256);
  const [older, newer, latecomer] = [
    sequence(0, tokensOf(128)),
    sequence(1, tokensOf(60, 500)),
    sequence(2, tokensOf(4)),
  ];
  for (const one of [older, newer]) scheduler.add(one);
  const first = scheduler.plan();
  assert.deepEqual(
    first.map(({ sequence: { handle } }) => handle),
    [0, 1],
  );
  for (const part of first) {
    scheduler.complete(part);
    part.sequence.append(9);
  }
  scheduler.add(latecomer);
  const [only, ...others] = scheduler.plan();
  assert.equal(only.sequence, older);
  assert.deepEqual(others, []);
  assert.equal(scheduler.preemptions, 1);
  assert.equal(newer.tokens.length, 61);
  assert.equal(scheduler.waiting, 2);
  scheduler.remove(older);
  assert.deepEqual(
    scheduler.plan().map(({ sequence: { handle }, rows }) => [handle, rows]),
    [
      [1, 61],
      [2, 4],
    ],
  );
});

test("a sequence that will be handed over has pages for its whole prompt, and keeps them", () => {
  const pool = new PagePool(4);
  const scheduler = new Scheduler(pool, 60);
  const leaving = sequence(0, tokensOf(130), 8, "", 1);
  const newer = sequence(1, tokensOf(60, 500));
  scheduler.add(leaving);
  scheduler.add(newer);
  const step = () => {
    for (const part of scheduler.plan()) {
      scheduler.complete(part);
      if (part.sequence.remaining === 0) part.sequence.append(9);
    }
  };
  step();
  assert.deepEqual([leaving.computed, leaving.pages.length], [60, 3]);
  for (let i = 0; i < 3; i++) step();
  scheduler.hold(leaving);
  for (let i = 0; i < 8; i++) step();
  assert.deepEqual([leaving.pages.length, newer.pages.length, pool.inUse], [3, 0, 3]);
  assert.equal(scheduler.waiting, 2);
  scheduler.remove(leaving);
  step();
  assert.deepEqual([newer.remaining, pool.inUse], [1, 2]);
});

test("equal prompts computed side by side end up on the same pages", () => {
  const pool = new PagePool(8);
  const scheduler = new Scheduler(pool, 300);
  const twins = [sequence(0, tokensOf(130)), sequence(1, tokensOf(130))];
  for (const twin of twins) scheduler.add(twin);
  const parts = scheduler.plan();
  assert.equal(pool.inUse, 6);
  for (const part of parts) scheduler.complete(part);
  assert.equal(pool.inUse, 4);
  assert.deepEqual(twins[0].pages.slice(0, 2), twins[1].pages.slice(0, 2));
  for (const twin of twins) scheduler.remove(twin);
  assert.equal(pool.inUse, 0);
});

/** A context cache whose loads end when, and with as many blocks as, a test says. */
function heldCache() {
  const loads: ((blocks: number) => void)[] = [];
  const saved: number[] = [];
  const cache = {
    isWorthReading: () => true,
    load: () => new Promise((resolve) => loads.push(resolve)),
    computeMs: () => 0,
    pass: () => undefined,
    save: (_key, _page, depth) => saved.push(depth),
  } satisfies BlockSource;
  const end = async (load: number, blocks: number) => {
    loads[load](blocks);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { cache, loads, saved, end };
}

test("a sequence is planned once its blocks are read, and saves only what it computed", async () => {
  const { cache, saved, end } = heldCache();
  let fetched = 0;
  const scheduler = new Scheduler(new PagePool(8), 300, {
    cache,
    listener: { onFetched: () => fetched++ },
  });
  const one = sequence(0, tokensOf(200));
  scheduler.add(one);
  assert.deepEqual(scheduler.plan(), []);
  await end(0, 2);
  assert.deepEqual([fetched, one.computed], [1, 128]);
  const [part] = scheduler.plan();
  assert.deepEqual([part.rows, part.logitRows], [72, [71]]);
  scheduler.complete(part);
  assert.deepEqual(saved, [2]);
});

test("a read that ends after its sequence left changes nothing, though it may be back", async () => {
  const { cache, end } = heldCache();
  const pool = new PagePool(4);
  let fetched = 0;
  const scheduler = new Scheduler(pool, 300, {
    cache,
    listener: { onFetched: () => fetched++ },
  });
  const one = sequence(0, tokensOf(200));
  scheduler.add(one);
  scheduler.plan();
  scheduler.remove(one);
  assert.equal(pool.inUse, 0);
  scheduler.add(one);
  scheduler.plan();
  await end(0, 3);
  assert.deepEqual([fetched, one.computed, scheduler.plan()], [0, 0, []]);
  await end(1, 1);
  assert.deepEqual([fetched, one.computed], [1, 64]);
  scheduler.remove(one);
  assert.deepEqual([pool.inUse, pool.cached], [0, 1]);
});

test("a sequence whose blocks are being read gives way to one that computes", async () => {
  const { cache, end } = heldCache();
  const pool = new PagePool(4);
  const scheduler = new Scheduler(pool, 300, { cache });
  const older = sequence(0, tokensOf(60), 100);
  const newer = sequence(1, tokensOf(150, 500));
  for (const one of [older, newer]) scheduler.add(one);
  while (scheduler.preemptions === 0) {
    const [part, ...others] = scheduler.plan();
    assert.equal(part.sequence, older);
    assert.deepEqual(others, []);
    scheduler.complete(part);
    older.append(7);
  }
  assert.deepEqual([older.pages.length, newer.pages, scheduler.waiting], [3, [], 1]);
  scheduler.remove(older);
  assert.deepEqual(scheduler.plan(), []);
  await end(0, 2);
  assert.equal(newer.computed, 0);
  await end(1, 2);
  assert.equal(newer.computed, 128);
});

test("the rows of a part that gives way go to others", async () => {
  const { cache, end } = heldCache();
  const scheduler = new Scheduler(new PagePool(5), 201, { cache });
  const [long, middle, newest] = [
    sequence(0, tokensOf(200)),
    sequence(1, tokensOf(100, 500)),
    sequence(2, tokensOf(5, 900)),
  ];
  for (const one of [long, middle, newest]) scheduler.add(one);
  const [first] = scheduler.plan();
  assert.equal(first.sequence, newest);
  scheduler.complete(first);
  newest.append(7);
  await end(0, 0);
  await end(1, 0);
  const parts = scheduler.plan().map(({ sequence: { handle }, rows }) => [handle, rows]);
  assert.equal(scheduler.preemptions, 1);
  assert.deepEqual(parts, [
    [0, 200],
    [1, 1],
  ]);
});

test("few sequences read at the same time, the others in their turn", async () => {
  const { cache, loads, end } = heldCache();
  const scheduler = new Scheduler(new PagePool(100), 300, { cache });
  for (let i = 0; i < 12; i++) scheduler.add(sequence(i, tokensOf(100, 500 * i)));
  scheduler.plan();
  assert.deepEqual([loads.length, scheduler.waiting], [8, 4]);
  await end(3, 0);
  const [part, ...others] = scheduler.plan();
  assert.deepEqual([part.sequence.handle, others.length], [3, 0]);
  assert.deepEqual([loads.length, scheduler.waiting], [9, 3]);
});

test("who has nothing to fetch passes those who wait to fetch", async () => {
  const { cache, loads, end } = heldCache();
  const scheduler = new Scheduler(new PagePool(100), 300, { cache });
  for (let i = 0; i < 10; i++) scheduler.add(sequence(i, tokensOf(100, 500 * i)));
  scheduler.add(sequence(10, tokensOf(5)));
  const computed = () => scheduler.plan().map(({ sequence: { handle } }) => handle);
  assert.deepEqual(computed(), [10]);
  assert.deepEqual([loads.length, scheduler.waiting], [8, 2]);
  await end(0, 1);
  assert.deepEqual(computed(), [0, 10]);
  assert.deepEqual([loads.length, scheduler.waiting], [9, 1]);
});

test("from a store that is bypassed nothing is fetched", () => {
  const { cache, loads } = heldCache();
  const scheduler = new Scheduler(new PagePool(100), 300, {
    cache: { ...cache, isWorthReading: () => false },
  });
  for (let i = 0; i < 3; i++) scheduler.add(sequence(i, tokensOf(100, 500 * i)));
  assert.equal(scheduler.plan().length, 3);
  assert.deepEqual(loads, []);
});

test("where states are kept the last token that others computed is computed again, and named once", async () => {
  const { cache, saved, end } = heldCache();
  const pool = new PagePool(12);
  const scheduler = new Scheduler(pool, 300, { cache, keepsStates: true });
  const first = sequence(0, tokensOf(200));
  scheduler.add(first);
  scheduler.plan();
  await end(0, 2);
  assert.deepEqual([first.computed, first.published], [127, 2]);
  const [part] = scheduler.plan();
  assert.deepEqual([part.rows, part.logitRows], [73, [72]]);
  scheduler.complete(part);
  assert.deepEqual([first.computed, first.published, saved], [200, 3, [2]]);
  const second = sequence(1, tokensOf(193));
  scheduler.add(second);
  scheduler.plan();
  assert.deepEqual([second.computed, second.published], [191, 3], "from the pool");
  const arriving = sequence(2, tokensOf(70, 900));
  arriving.arriving = true;
  scheduler.add(arriving);
  scheduler.plan();
  scheduler.settle(arriving);
  assert.deepEqual([arriving.computed, arriving.published], [69, 1], "from a prefill rank");
  const fresh = sequence(3, tokensOf(10, 2000));
  scheduler.add(fresh);
  assert.equal(scheduler.plan().find(({ sequence: { handle } }) => handle === 3)?.rows, 10);
});

test("who has nothing to compute says what it waits for", () => {
  const waiting = new Scheduler(new PagePool(1), 64);
  const arriving = sequence(0, tokensOf(PAGE_TOKENS + 1));
  arriving.arriving = true;
  waiting.add(arriving);
  assert.deepEqual([waiting.plan(), waiting.waitsFor], [[], "PAGES"]);

  const receiving = new Scheduler(new PagePool(4), 64);
  receiving.add(arriving);
  assert.deepEqual([receiving.plan(), receiving.waitsFor], [[], "KV"]);

  const reading = new Scheduler(new PagePool(4), 64, {
    cache: {
      isWorthReading: () => true,
      computeMs: () => 0,
      pass: () => undefined,
      load: () => new Promise(() => undefined),
      save: () => undefined,
    },
  });
  reading.add(sequence(1, tokensOf(PAGE_TOKENS + 1)));
  assert.deepEqual([reading.plan(), reading.waitsFor], [[], "STORE"]);

  const masked = new Scheduler(new PagePool(4), 64);
  const request = { ...sequence(2, tokensOf(3)).request, mask: Uint32Array.of(1) };
  const constrained = new Sequence(2, request);
  masked.add(constrained);
  masked.complete(masked.plan()[0]);
  constrained.append(0);
  constrained.hasLateMasks = true;
  assert.deepEqual([masked.plan(), masked.waitsFor], [[], "MASK"]);
});
