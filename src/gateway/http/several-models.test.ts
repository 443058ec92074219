import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Engine } from "../../engine/index.ts";
import { Accounts, Ledger, PriceBook, readLedger, reportOn } from "../billing/index.ts";
import type { ModelParts } from "../models/index.ts";
import { viewCluster } from "../status/index.ts";
import { TextWorker } from "../text/index.ts";
import type { Usage } from "../wire.ts";
import { tinyCheckpoint } from "./fixtures.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { serveGateway } from "./serve.ts";

const calfDirectory = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "daysix-several-models-"));
const tinyDirectory = await tinyCheckpoint();
const folders = [folder, tinyDirectory];
after(() => Promise.all(folders.map((each) => rm(each, { recursive: true }))));

interface OpenModel extends ModelParts {
  readonly engine: Engine;
}

async function openModel(directory: string, names: readonly string[]): Promise<OpenModel> {
  const text = await TextWorker.start(directory);
  const engine = await Engine.start({
    ...{ modelDirectory: directory, policy: "w8a16", kvMemoryBytes: 2 ** 24 },
    usableTokens: text.vocabulary.vocabSize,
  });
  return { names, text, engine };
}

async function closeModel({ engine, text }: OpenModel): Promise<void> {
  await engine.close();
  await text.close();
}

async function serving(models: readonly ModelParts[], options: Partial<GatewayOptions> = {}) {
  const gateway = new Gateway({ models, ...options });
  const running = await serveGateway(gateway, { host: "127.0.0.1", port: 0 });
  const url = `http://127.0.0.1:${running.address.port}`;
  const get = (path: string) => fetch(url + path);
  const post = (path: string, body: object) =>
    fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  return { get, post, close: () => running.drain(0) };
}

type Server = Awaited<ReturnType<typeof serving>>;

/** What a client is told, but for the id and the time. */
interface Told {
  readonly model: string;
  readonly choices: readonly object[];
  readonly usage: Usage;
}

async function answersOf({ post }: Server, model: string): Promise<Told[]> {
  const messages = [{ role: "user", content: "What is 47 + 38?" }];
  const common = { model, seed: 7, max_tokens: 8, logprobs: true };
  const asked = [
    post("/v1/chat/completions", { ...common, messages, temperature: 1 }),
    post("/v1/chat/completions", { ...common, messages, temperature: 0, n: 2 }),
    post("/v1/completions", { ...common, prompt: "What is 47", logprobs: 2 }),
  ];
  return Promise.all(
    asked.map(async (response) => {
      const { model: said, choices, usage } = (await (await response).json()) as Told;
      return { model: said, choices, usage };
    }),
  );
}

const errorOf = async (response: Promise<Response>) => {
  const { error } = (await (await response).json()) as { error: Record<string, string> };
  return [(await response).status, error["code"], error["param"], error["message"]];
};

const at = Date.UTC(2026, 0, 2);
const rates = (output: string) => ({ hit: "0.01", miss: "0.1", output });
const prices = PriceBook.parse({
  prices: [
    { name: "small", from: "2026-01-01T00:00:00Z", models: ["tiny"], ...rates("1") },
    { name: "large", from: "2026-01-01T00:00:00Z", ...rates("7") },
  ],
});

let tiny: OpenModel;
let calf: OpenModel;
const alone = new Map<string, Told[]>();
before(async () => {
  for (const [directory, name] of [
    [tinyDirectory, "tiny"],
    [calfDirectory, "calf"],
  ]) {
    const model = await openModel(directory, [name]);
    const server = await serving([model]);
    alone.set(name, await answersOf(server, name));
    await server.close();
    if (name === "tiny") tiny = model;
    else calf = model;
  }
});
after(() => Promise.all([tiny, calf].map(closeModel)));

test("models beside each other answer as each does alone, and are billed and counted apart", async () => {
  const ledger = join(folder, "ledger");
  const accounts = new Accounts({ ledger: await Ledger.open(ledger), prices, now: () => at });
  const server = await serving([tiny, calf], { accounts });
  const [small, large] = await Promise.all(["tiny", "calf"].map((name) => answersOf(server, name)));
  const metrics = await (await server.get("/metrics")).text();
  await server.close();
  await accounts.close();

  const told = { tiny: small, calf: large };
  const records = [];
  for await (const line of readLedger(ledger)) {
    assert.ok(line.kind === "record" && line.record.kind === "request");
    records.push(line.record);
  }
  const report = await reportOn(records, { acceleratorHour: 0n, prices, priceModel: "calf" });
  assert.deepEqual(
    report.models.map(({ model }) => model),
    ["calf", "tiny"],
  );
  for (const [name, answers] of Object.entries(told)) {
    const choices = (each: Told) => [each.model, each.choices];
    assert.deepEqual(answers.map(choices), alone.get(name)?.map(choices));
    const sum = (kind: "prompt_tokens" | "completion_tokens") =>
      answers.reduce((total, { usage }) => total + usage[kind], 0);
    const own = report.models.find(({ model }) => model === name);
    assert.deepEqual(
      [own?.requests, own?.inputTokens, own?.outputTokens],
      [answers.length, sum("prompt_tokens"), sum("completion_tokens")],
    );
    const counted = (family: string) =>
      Number(new RegExp(`^${family}\\{model_name="${name}"\\} (\\d+)$`, "m").exec(metrics)?.[1]);
    assert.equal(counted("vllm:prompt_tokens_total"), sum("prompt_tokens"));
    assert.equal(counted("vllm:generation_tokens_total"), sum("completion_tokens"));
    assert.equal(counted("daysix_engine_up"), 1);
  }
  for (const { model, billing } of records) {
    assert.ok(billing.kind === "billed");
    assert.equal(billing.price.name, model === "tiny" ? "small" : "large");
  }
  assert.equal(
    report.billedIncome,
    report.models.reduce((total, { billedIncome }) => total + billedIncome, 0n),
  );
});

test("who names no model is told which there are, and who asks for models gets all", async () => {
  const server = await serving([{ ...tiny, names: ["tiny", "tiny-alias"] }, calf]);
  try {
    const list = (await (await server.get("/v1/models")).json()) as {
      data: { id: string; max_model_len: number }[];
    };
    assert.deepEqual(
      list.data.map(({ id, max_model_len: length }) => [id, length]),
      [
        ["tiny", tiny.engine.maxModelLen],
        ["tiny-alias", tiny.engine.maxModelLen],
        ["calf", calf.engine.maxModelLen],
      ],
    );
    const message = `The model "cow" does not exist; served: tiny, tiny-alias, calf`;
    const unknown = [404, "model_not_found", "model", message];
    assert.deepEqual(
      await errorOf(server.post("/v1/completions", { model: "cow", prompt: "a" })),
      unknown,
    );
    assert.deepEqual(await errorOf(server.get("/status?model=cow")), unknown);
    const unnamed = [
      400,
      "invalid_value",
      "model",
      "model: expected one of tiny, tiny-alias, calf",
    ];
    for (const [path, body] of [
      ["/tokenize", { prompt: "a" }],
      ["/detokenize", { tokens: [1] }],
      ["/scale", { combined: 1 }],
      ["/rebalance", {}],
    ] as const) {
      assert.deepEqual(await errorOf(server.post(path, body)), unnamed, path);
      assert.equal((await server.post(path, { ...body, model: "cow" })).status, 404, path);
    }
    const chat = { messages: [{ role: "user", content: "a" }] };
    const [, , param, said] = await errorOf(server.post("/v1/chat/completions", chat));
    assert.deepEqual([param, said], ["model", "model: expected a name from /v1/models"]);
  } finally {
    await server.close();
  }
});

test("each model has its own words, counts and status", async () => {
  const server = await serving([tiny, calf]);
  try {
    const tokens = async (model: string) => {
      const { tokens: ids } = (await (
        await server.post("/tokenize", { model, prompt: "What is 47 + 38?" })
      ).json()) as { tokens: number[] };
      const back = await server.post("/detokenize", { model, tokens: ids.slice(1) });
      assert.deepEqual(await back.json(), { prompt: "What is 47 + 38?" });
      return ids;
    };
    assert.notDeepEqual(await tokens("tiny"), await tokens("calf"));
    const [yes, no] = await Promise.all(
      ["tiny", "calf"].map(async (model, index) => {
        const asked = { model, prompt: "a", guided_choice: [["yes", "no"][index]] };
        const { choices } = (await (await server.post("/v1/completions", asked)).json()) as {
          choices: { text: string }[];
        };
        return choices[0].text;
      }),
    );
    assert.deepEqual([yes, no], ["yes", "no"], "each is held to its own vocabulary");
    const status = async (query: string) =>
      (await (await server.get(`/status${query}`)).json()) as {
        served: string[];
        models: string[];
        maxModelLen: number;
        tokens: { output: number };
        requests: Record<string, number>;
      };
    const told = [(await status("")).tokens.output, (await status("?model=calf")).tokens.output];
    const answers = await answersOf(server, "calf");
    const [first, second] = [await status(""), await status("?model=calf")];
    assert.deepEqual([first.served, first.models], [["tiny", "calf"], ["tiny"]]);
    assert.deepEqual([second.served, second.models], [["tiny", "calf"], ["calf"]]);
    assert.equal(second.maxModelLen, calf.engine.maxModelLen);
    const output = answers.reduce((sum, { usage }) => sum + usage.completion_tokens, 0);
    assert.deepEqual([first.tokens.output - told[0], second.tokens.output - told[1]], [0, output]);

    const long = { model: "calf", prompt: "a", max_tokens: 1000, ignore_eos: true, stream: true };
    const stream = (await server.post("/v1/completions", long)).body?.getReader();
    await stream?.read();
    const live = async (query: string) => Object.values((await status(query)).requests);
    assert.deepEqual(await live("?model=tiny"), [0, 0, 0]);
    assert.equal((await live("?model=calf")).filter((count) => count > 0).length, 1);
    await stream?.cancel();
  } finally {
    await server.close();
  }
});

test("they share one queue, and drain together", async () => {
  const server = await serving([tiny, calf], { queueLimit: 3 });
  const ask = (model: string, n: number) =>
    server.post("/v1/completions", { model, prompt: "a", n, max_tokens: 1 });
  assert.equal((await ask("tiny", 4)).status, 429);
  assert.equal((await ask("calf", 3)).status, 200);
  await server.close();
  await assert.rejects(server.get("/health"));
});

test("a model that has ended leaves the others serving, and readiness says which it is", async () => {
  const model = await openModel(tinyDirectory, ["ended"]);
  let state: "serving" | "lost" = "serving";
  const cluster = {
    ...(await viewCluster(model.engine, tinyDirectory)),
    units: () => [{ unit: 0, role: "combined", state } as const],
  };
  const server = await serving([{ ...model, cluster }, calf]);
  try {
    assert.equal((await server.get("/readyz")).status, 200);
    await model.engine.close();
    state = "lost";
    const ready = await server.get("/readyz");
    const body = { status: "no_unit", waiting: 0, running: 0, without_unit: ["ended"] };
    assert.deepEqual([ready.status, await ready.json()], [503, body]);
    const ask = (name: string) =>
      server.post("/v1/completions", { model: name, prompt: [1], max_tokens: 1 });
    assert.equal((await ask("ended")).status, 503);
    assert.equal((await ask("calf")).status, 200);
    const metrics = await (await server.get("/metrics")).text();
    assert.match(metrics, /^daysix_engine_up\{model_name="ended"\} 0$/m);
    assert.match(metrics, /^daysix_engine_up\{model_name="calf"\} 1$/m);
  } finally {
    await server.close();
    await model.text.close();
  }
});
