import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { ManualClock } from "../cluster/fixtures.ts";
import { parseTopology } from "../cluster/index.ts";
import { Relay } from "../cluster/relay-fixtures.ts";
import { askServer } from "../gateway/index.ts";
import { storeServers, type StoreServerKind } from "../kv-cache/server-fixtures.ts";
import { bundledModel } from "./bundled-model.ts";
import { startServing } from "./serve.ts";
import { Shutdown } from "./shutdown.ts";

/** Of blocks of 64 tokens; the ranks' pools hold those of two. */
const PROMPTS = 8;
const WATCH_MS = 5000;
/** Each way. */
const SLOW_MS = 500;

const words = "once upon a time there was little sheep that knew how to add two numbers".split(" ");

/** No two begin alike. */
const promptOf = (number: number) =>
  Array.from({ length: 150 }, (_, i) => words[(number + i * i) % words.length]).join(" ");

interface Answer {
  readonly choices: readonly { readonly text: string }[];
  readonly usage: { readonly prompt_cache_hit_tokens: number };
}

/** A server whose store is another one's, behind a relay. */
async function serveWith(t: TestContext, { start }: StoreServerKind) {
  const store = await start();
  t.after(() => store.remove());
  const [address, port] = /127\.0\.0\.1:(\d+)/.exec(store.place) ?? [];
  const way = await Relay.start(Number(port));
  t.after(() => way.close());
  const place = store.place.replace(String(address), `127.0.0.1:${way.port}`);
  const lines: { readonly level: number; readonly msg: string }[] = [];
  const clock = new ManualClock();
  const shutdown = new Shutdown(assert.ifError);
  const { url } = await startServing(
    {
      models: [
        {
          engine: {
            ...{ modelDirectory: bundledModel, policy: "w8a16", kvMemoryBytes: 600_000 },
            topology: parseTopology("combined=2x1"),
            contextCache: { store: place, limits: { maxBytes: Infinity, maxAgeMs: 3_600_000 } },
          },
        },
      ],
      ...{ host: "127.0.0.1", port: 0, clock },
      log: pino({}, { write: (line: string) => lines.push(JSON.parse(line) as never) }),
    },
    shutdown,
  );
  t.after(() => shutdown.close());
  const ask = async (number: number) => {
    const body = { model: "calf", prompt: promptOf(number), max_tokens: 3, temperature: 0 };
    const { choices, usage } = (await (
      await askServer({ url }, "/v1/completions", body)
    ).json()) as Answer;
    return { text: choices[0].text, hits: usage.prompt_cache_hit_tokens };
  };
  const askAll = async () => {
    const answers: Awaited<ReturnType<typeof ask>>[] = [];
    for (let number = 0; number < PROMPTS; number++) answers.push(await ask(number));
    return answers;
  };
  /** Warnings, and what is told of their end, since the last look. */
  const look = async () => {
    clock.advance(WATCH_MS);
    // The ranks are asked, and the next look is due.
    while (clock.pending === 0) await delay(1);
    const told = lines.filter(({ level, msg }) => level >= 40 || /context cache/.test(msg));
    lines.length = 0;
    return told.map(({ msg }) => msg);
  };
  const metric = async (name: string, label: string) => {
    const text = await (await askServer({ url }, "/metrics")).text();
    const own = text.split("\n").filter((line) => line.startsWith(name) && line.includes(label));
    return own.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  };
  return { store, way, ask, askAll, look, metric };
}

for (const kind of storeServers) {
  const { name, skip } = kind;
  test(
    `${name}: a store that is killed, comes back, and is slow costs hits and a warning, no answer`,
    { skip },
    async (t) => {
      const { store, way, ask, askAll, look, metric } = await serveWith(t, kind);
      const first = await askAll();
      const expected = first.map(({ text }) => text);
      const assertRight = (answers: typeof first) =>
        assert.deepEqual(
          answers.map(({ text }) => text),
          expected,
        );
      assert.ok(first.every(({ hits }) => hits === 0));
      const again = await askAll();
      assertRight(again);
      assert.ok(again.filter(({ hits }) => hits > 0).length >= PROMPTS / 2, "blocks are read");
      assert.deepEqual(await look(), []);

      await store.kill();
      assertRight(await askAll());
      assert.deepEqual(await look(), ["the store of the context cache fails"]);
      assert.ok((await metric("daysix_context_cache_troubles_total", "failed")) >= 3);
      assert.ok((await metric("daysix_context_cache_bypassed", "")) >= 1);
      await askAll();
      assert.deepEqual(await look(), []);

      await store.restart();
      for (let number = 0; (await metric("daysix_context_cache_bypassed", "")) > 0; number++) {
        assert.equal((await ask(number % PROMPTS)).text, expected[number % PROMPTS]);
      }
      const back = await askAll();
      assertRight(back);
      assert.ok(back.some(({ hits }) => hits > 0));
      // One that is slower than computing anyhow tells no more.
      if (name !== "valkey") return;
      const told = await look();
      assertRight(await askAll());
      assert.deepEqual([...told, ...(await look())], ["the context cache is used again"]);

      way.delay(SLOW_MS);
      assertRight(await askAll());
      assert.equal((await look()).length, 1);
      assert.ok((await metric("daysix_context_cache_blocks_total", "computed")) > 0);
      way.delay(0);
    },
  );
}
