import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { parseTopology } from "../cluster/index.ts";
import { ManualClock } from "../cluster/fixtures.ts";
import { bundledModel } from "./bundled-model.ts";
import { scale as waitForUnits } from "./scale.ts";
import { startServing } from "./serve.ts";
import { Shutdown } from "./shutdown.ts";

const main = fileURLToPath(new URL("./main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "daysix-scale-test-"));
after(() => rmSync(folder, { recursive: true }));

const scale = (...options: string[]) =>
  new Promise<{ status: number; out: string; err: string }>((resolve) => {
    execFile(process.execPath, [main, "scale", ...options], (error, out, err) =>
      resolve({ status: typeof error?.code === "number" ? error.code : 0, out, err }),
    );
  });

test("a running server has as many units as it is told, and says so everywhere", async () => {
  const ledger = join(folder, "ledger");
  const shutdown = new Shutdown(assert.ifError);
  const { url } = await startServing(
    {
      models: [
        {
          engine: {
            modelDirectory: bundledModel,
            policy: "w8a16",
            kvMemoryBytes: 2 ** 25,
            topology: parseTopology("prefill=1x1,decode=1x1"),
          },
        },
      ],
      ...{ host: "127.0.0.1", port: 0, apiKey: "key", log: pino({ level: "silent" }), ledger },
    },
    shutdown,
  );
  const server = ["--url", url, "--api-key", "key"];
  const get = (path: string) => fetch(url + path, { headers: { authorization: "Bearer key" } });
  const units = async () => {
    const snapshot = (await (await get("/status")).json()) as {
      units: { unit: number; role: string; state: string; ranks: { rank: number }[] }[];
    };
    return snapshot.units.map(
      ({ unit, role, state, ranks }) =>
        `${unit} ${role} ${state} ${ranks.map(({ rank }) => rank).join("+")}`,
    );
  };
  try {
    assert.deepEqual(await units(), ["0 prefill serving 0", "1 decode serving 1"]);
    const { status, out, err } = await scale("decode=2", ...server);
    assert.equal(status, 0, err);
    assert.match(out, /^decode: 2 serving, after \d+\.\d s\n$/);
    assert.deepEqual((await units()).at(-1), "2 decode serving 2");
    const metrics = await (await get("/metrics")).text();
    assert.match(metrics, /^daysix_units\{model_name="calf",role="decode",state="serving"\} 2$/m);
    assert.equal((await get("/readyz")).status, 200);
    const back = await scale("decode=1,prefill=1", ...server, "--json");
    const { units: left } = JSON.parse(back.out) as { units: object[] };
    assert.deepEqual(left.length, 2);
    assert.deepEqual(await units(), ["0 prefill serving 0", "1 decode serving 1"]);

    for (const [asked, said] of [
      [["decode=0", ...server], /expected units as in prefill=1,decode=2, got "decode=0"/],
      [
        ["combined=2", ...server],
        /^daysix: http:\/\/\S+ answers 400: there are no combined units, only prefill and decode/,
      ],
      [["decode=2", "--url", url], /401: /],
    ] as const) {
      const refused = await scale(...asked);
      assert.equal(refused.status, 2);
      assert.match(refused.err, said);
    }
  } finally {
    await shutdown.close();
  }
  const accelerators = readFileSync(ledger, "utf8")
    .split("\n")
    .filter((line) => /"event":"(start|change)"/.test(line))
    .map((line) => (JSON.parse(line) as { acceleratorsPerNode: number }).acceleratorsPerNode);
  assert.deepEqual(accelerators, [2, 3, 2], "the ledger counts what there was");
});

test("who waits for units is told in the end what serves, and of a server that does not answer", async (t) => {
  let states: readonly string[] | undefined = ["serving", "starting"];
  const looks: string[] = [];
  const fake = createServer(({ url: path = "" }, response) => {
    looks.push(path);
    const units = states?.map((state, unit) => ({ unit, role: "decode", state }));
    if (units) response.end(JSON.stringify({ units, problems: [] }));
  });
  fake.listen(0, "127.0.0.1");
  await once(fake, "listening");
  t.after(() => {
    fake.closeAllConnections();
    fake.close();
  });
  const url = `http://127.0.0.1:${(fake.address() as AddressInfo).port}`;
  const clock = new ManualClock();
  const options = { server: { url }, wanted: { decode: 2 }, json: false, clock };
  const message = "decode: 1 serving, not 2 after 900 s; the server goes on trying";
  const slow = assert.rejects(waitForUnits({ ...options, timeoutMs: 900_000 }), { message });
  for (; looks.length < 3; clock.advance(200)) await setImmediate();
  clock.advance(900_000);
  await slow;
  states = undefined;
  const silent = assert.rejects(waitForUnits({ ...options, timeoutMs: 60_000 }), {
    message: "decode: 0 serving, not 2 after 60 s; the server goes on trying",
  });
  looks.length = 0;
  while (looks.length === 0) await setImmediate();
  clock.advance(60_000);
  await silent;
  assert.equal(clock.pending, 0);
});
