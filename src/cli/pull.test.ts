import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type HubBehaviour, startHub } from "../model/hub/hub-fixtures.ts";
import { pull } from "./pull.ts";
import { signalsOf, terminalOf } from "./terminal-fixtures.ts";

const files = new Map([["model.safetensors", Buffer.alloc(5000, 1)]]);

/** A hub that the command asks until the test ends. */
async function hubOf(t: TestContext, behaviour: HubBehaviour): Promise<void> {
  const hub = await startHub(files, behaviour);
  const home = await mkdtemp(join(tmpdir(), "daysix-pull-"));
  const { HF_HOME, HF_ENDPOINT } = process.env;
  Object.assign(process.env, { HF_HOME: home, HF_ENDPOINT: hub.endpoint });
  t.after(async () => {
    delete process.env["HF_HOME"];
    delete process.env["HF_ENDPOINT"];
    Object.assign(process.env, HF_HOME && { HF_HOME }, HF_ENDPOINT && { HF_ENDPOINT });
    await hub.close();
    await rm(home, { recursive: true });
  });
}

test("the bar's line is free for the error of a pull that fails", async (t) => {
  await hubOf(t, { damages: 100 });
  const written = terminalOf(t);
  await assert.rejects(pull("org/tiny"), /expected the checksum/);
  assert.ok(written.some((text) => text.includes("% of 5.0 KB")));
  assert.equal(written.at(-1), "\r\x1b[K");
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`a pull that ${signal} ends says that the next one goes on`, async (t) => {
    await hubOf(t, {});
    terminalOf(t);
    const send = signalsOf(t);
    const pulled = pull("org/tiny");
    send(signal);
    await assert.rejects(pulled, /^Error: stopped; the next pull goes on from here$/);
  });
}
