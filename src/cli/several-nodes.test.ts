import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { clusterSecret, parseTopology } from "../cluster/index.ts";
import type { Engine, NodeOptions } from "../engine/index.ts";
import { tinyCheckpoint } from "../gateway/http/fixtures.ts";
import { bundledModel } from "./bundled-model.ts";
import { startServing } from "./serve.ts";
import { Shutdown } from "./shutdown.ts";

const main = fileURLToPath(new URL("./main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "daysix-several-nodes-"));
const tiny = await tinyCheckpoint();
after(() => {
  for (const each of [folder, tiny]) rmSync(each, { recursive: true });
});
const secretText = "a secret that both nodes know";
const secretFile = join(folder, "secret");
writeFileSync(secretFile, secretText);

/** `daysix node` as a user starts it. */
function startNode(port: number, ...models: readonly string[]) {
  const options = ["--join", `127.0.0.1:${port}`, "--secret-file", secretFile, "--policy", "f32"];
  const given = models.flatMap((model) => ["--model", model]);
  const child = spawn(process.execPath, [main, "node", ...options, ...given]);
  let said = "";
  for (const output of [child.stdout, child.stderr]) output.on("data", (data) => (said += data));
  const ended = once(child, "close").then(([status]) => ({
    status: status as number | null,
    said,
  }));
  return { process: child as ChildProcess, ended };
}

/** The nodes of a unit's ranks: `0+1`. */
const nodesOf = ({ units }: Engine) =>
  units
    .filter(({ state }) => state === "serving")
    .map(({ ranks }) => ranks.map(({ node }) => node).join("+"))
    .join();

async function untilOn(engines: readonly Engine[], nodes: string): Promise<void> {
  while (engines.some((engine) => nodesOf(engine) !== nodes)) await delay(20);
}

test("a node joins once and computes for every model, is lost for all, and comes back for all", async () => {
  const shutdown = new Shutdown(assert.ifError);
  let heard: (port: number) => void = () => undefined;
  const listening = new Promise<number>((resolve) => (heard = resolve));
  const nodes: NodeOptions = {
    count: 2,
    await: {
      listen: { host: "127.0.0.1", port: 0 },
      secret: clusterSecret(secretText),
      listening: heard,
    },
  };
  const modelOf = (name: string, modelDirectory: string) => ({
    names: [name],
    engine: {
      ...({ modelDirectory, policy: "f32", kvMemoryBytes: 2 ** 22, nodes } as const),
      topology: parseTopology("combined=1x2"),
    },
  });
  const alone = { ...modelOf("alone", tiny), names: ["alone"] };
  const { nodes: _nodes, ...own } = alone.engine;
  const starting = startServing(
    {
      models: [modelOf("a", tiny), modelOf("b", bundledModel), { ...alone, engine: own }],
      ...{ host: "127.0.0.1", port: 0, log: pino({ level: "silent" }) },
    },
    shutdown,
  );
  const port = await listening;
  const first = startNode(port, `a=${tiny}`, `b=${bundledModel}`);
  const { models, url } = await starting;
  const both = models.slice(0, 2).map(({ engine }) => engine);
  assert.deepEqual(both.map(nodesOf), ["0+1", "0+1"]);
  assert.equal(nodesOf(models[2].engine), "0+0");

  const answersOf = () =>
    Promise.all(
      ["a", "b", "alone"].map(async (model) => {
        const response = await fetch(`${url}/v1/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ model, prompt: "What is 47 + 38?", max_tokens: 6, seed: 1 }),
        });
        const { choices } = (await response.json()) as { choices: { text: string }[] };
        return choices[0].text;
      }),
    );
  const expected = await answersOf();
  assert.equal(expected[0], expected[2], "where a model's ranks are leaves no trace");
  first.process.kill("SIGKILL");
  assert.deepEqual(await answersOf(), expected);
  await untilOn(both, "0");
  const second = startNode(port, `a=${tiny}`, `b=${bundledModel}`);
  await untilOn(both, "0+2");
  assert.deepEqual(await answersOf(), expected);
  await shutdown.close();
  const { status, said } = await second.ended;
  assert.equal(status, 0, said);
});
