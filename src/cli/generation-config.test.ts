import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pino } from "pino";
import { samplingDefaults } from "./generation-config.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-generation-config-"));
after(() => rm(directory, { recursive: true }));

/** The defaults of such a file, and the fields that the log names. */
async function read(config: unknown) {
  await writeFile(join(directory, "generation_config.json"), JSON.stringify(config));
  const named: unknown[] = [];
  const log = pino({}, { write: (line: string) => named.push(JSON.parse(line).field) });
  return { defaults: await samplingDefaults(directory, log), named };
}

test("a checkpoint's recommendations are taken, and each that makes no sense left out alone", async () => {
  const whole = { temperature: 0.6, top_p: 0.9, top_k: 40, min_p: 0.1, repetition_penalty: 1.05 };
  assert.deepEqual(await read(whole), {
    defaults: { temperature: 0.6, topP: 0.9, topK: 40, minP: 0.1, repetitionPenalty: 1.05 },
    named: [],
  });
  assert.deepEqual(await read({ ...whole, temperature: "hot", top_k: null, min_p: 7 }), {
    defaults: { topP: 0.9, repetitionPenalty: 1.05 },
    named: ["temperature", "min_p"],
  });
  assert.deepEqual((await read({ ...whole, do_sample: false })).defaults, { temperature: 0 });
  assert.deepEqual((await read([])).defaults, {});
});

test("a folder without the file recommends nothing", async () => {
  await rm(join(directory, "generation_config.json"));
  assert.deepEqual(await samplingDefaults(directory, pino({ level: "silent" })), {});
});
