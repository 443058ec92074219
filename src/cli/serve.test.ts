import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { readLedger } from "../gateway/index.ts";
import { tinyCheckpoint } from "../gateway/http/fixtures.ts";

const main = fileURLToPath(new URL("./main.js", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "daysix-serve-test-"));
const model = await tinyCheckpoint();
after(() => Promise.all([folder, model].map((each) => rm(each, { recursive: true }))));

interface Running {
  readonly process: ChildProcess;
  readonly url: string;
  readonly ended: Promise<{ readonly status: number | null; readonly said: string }>;
}

/** `daysix serve` with one model. */
const startServer = (flags: Readonly<Record<string, string>>): Promise<Running> => {
  const all = { model, policy: "f32", "served-model-name": "calf", ...flags };
  return start(Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]));
};

/** `daysix serve` as a user starts it, in a process group of its own. */
async function start(options: readonly string[]): Promise<Running> {
  const argv = [main, "serve", "--port", "0", ...options];
  const child = spawn(process.execPath, argv, { detached: true });
  let said = "";
  let listening: (url: string) => void;
  const url = new Promise<string>((resolve) => (listening = resolve));
  for (const output of [child.stdout, child.stderr]) {
    output.on("data", (data) => {
      said += data;
      const [, at] = /watch it at (\S+)\//.exec(said) ?? [];
      if (at) listening(at);
    });
  }
  const ended = once(child, "close").then(([status]) => ({ status, said }));
  const early = ended.then(() => Promise.reject(new Error(`the server has ended: ${said}`)));
  return { process: child, url: await Promise.race([url, early]), ended };
}

/** An answer that has begun and goes on for a while. */
async function startAnswer(url: string): Promise<{ readonly text: Promise<string> }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "calf", prompt: "a", max_tokens: 300, seed: 1, stream: true }),
  });
  assert.equal(response.status, 200);
  return { text: response.text() };
}

async function recordsOf(ledger: string): Promise<string[]> {
  const records: string[] = [];
  for await (const line of readLedger(ledger)) {
    assert.ok(line.kind === "record");
    const { record } = line;
    records.push(record.kind === "request" ? record.outcome : record.event);
  }
  return records;
}

const STREAMS = 4;

for (const [name, flags, group] of [
  ["SIGTERM", {}, false],
  ["SIGHUP", {}, false],
  ["SIGTERM", { nodes: "2", topology: "combined=1x2" }, true],
] as const) {
  const to = group ? "a server's process group" : "a server";
  test(`${name} to ${to} lets live answers finish and bills them`, async () => {
    const ledger = join(folder, `${name}-${group}.jsonl`);
    const server = await startServer({ ...flags, ledger });
    const answers = await Promise.all(
      Array.from({ length: STREAMS }, () => startAnswer(server.url)),
    );
    const { pid = 0 } = server.process;
    process.kill(group ? -pid : pid, name);
    for (const { text } of answers) assert.match(await text, /data: \[DONE\]\n\n$/);
    const { status, said } = await server.ended;
    assert.equal(status, 0, said);
    const complete = Array<string>(STREAMS).fill("complete");
    assert.deepEqual(await recordsOf(ledger), ["start", ...complete, "stop"]);
  });
}

test("a server whose ledger cannot be written says so at the end, and ends", async () => {
  const away = join(folder, "away");
  await mkdir(away);
  const server = await startServer({ ledger: join(away, "ledger.jsonl") });
  await rm(away, { recursive: true });
  server.process.kill("SIGTERM");
  const { status, said } = await server.ended;
  assert.equal(status, 1);
  assert.match(said, /"msg":"the ledger did not close: ENOENT: .*away/);
});

test("a second server on a ledger is refused in a line with the file and the first one's pid", async () => {
  const ledger = join(folder, "shared.jsonl");
  const first = await startServer({ ledger });
  const { pid } = first.process;
  await assert.rejects(startServer({ ledger }), {
    message: new RegExp(
      `^the server has ended: .*"msg":"cannot open the ledger ${ledger}: the server with pid ${pid} .*\n$`,
    ),
  });
  first.process.kill("SIGTERM");
  assert.equal((await first.ended).status, 0);
  assert.deepEqual(await recordsOf(ledger), ["start", "stop"]);
});

/** Clients that ask again and again until the server is gone; the usages that they were told, by id. */
async function readUsages(url: string, clients: number, enough: () => void) {
  const told = new Map<string, { prompt_tokens: number; completion_tokens: number }>();
  const client = async () => {
    for (;;) {
      const response = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "calf", prompt: "a", max_tokens: 1 + (told.size % 7) }),
      });
      const { id, usage } = (await response.json()) as { id: string; usage: never };
      told.set(id, usage);
      if (told.size === 40) enough();
    }
  };
  await Promise.allSettled(Array.from({ length: clients }, client));
  return told;
}

test("a server that is killed has on its disk what its clients were told, and the next one goes on", async () => {
  const ledger = join(folder, "killed.jsonl");
  const server = await startServer({ ledger });
  const told = await readUsages(server.url, 6, () => server.process.kill("SIGKILL"));
  await server.ended;
  // As a write that was under way may leave it.
  await appendFile(ledger, '{"kind":"request","id":"cut by a cra');
  const next = await startServer({ ledger });
  await (
    await startAnswer(next.url)
  ).text;
  next.process.kill("SIGTERM");
  assert.equal((await next.ended).status, 0);
  const billed: [string, object][] = [];
  let unreadable = 0;
  for await (const line of readLedger(ledger)) {
    if (line.kind === "unreadable") unreadable++;
    else if (line.record.kind === "request") {
      const { id, tokens } = line.record;
      const prompt_tokens = tokens.hit + tokens.miss;
      billed.push([id, { prompt_tokens, completion_tokens: tokens.output }]);
    }
  }
  assert.equal(unreadable, 1);
  assert.ok(told.size >= 40);
  const bills = new Map(billed);
  assert.equal(bills.size, billed.length, "each is billed once");
  for (const [id, usage] of told) {
    const { prompt_tokens, completion_tokens } = usage;
    assert.deepEqual(bills.get(id), { prompt_tokens, completion_tokens });
  }
  // Those whose answer was still on its way, and the next server's.
  assert.ok(billed.length <= told.size + 6 + 1);
});

test("two models are served by one process, each on its own units, and both end with it", async () => {
  const ledger = join(folder, "two.jsonl");
  const server = await start([
    ...["--ledger", ledger, "--policy", "f32", "--kv-memory", "32M"],
    ...["--model", `pair=${model},topology=prefill=1x1,decode=1x1`],
    ...["--model", `single=${model},policy=w8a16`],
  ]);
  const post = async (path: string, body: object) => {
    const response = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return (await response.json()) as {
      model: string;
      units: { role: string }[];
      choices: { text: string }[];
    };
  };
  for (const name of ["pair", "single"]) {
    const asked = { model: name, prompt: "a", max_tokens: 4, seed: 1 };
    const { model: said, choices } = await post("/v1/completions", asked);
    assert.deepEqual([said, choices.length], [name, 1]);
  }
  const rolesOf = async (name: string) =>
    (await post("/scale", { model: name })).units.map(({ role }) => role);
  assert.deepEqual(await rolesOf("pair"), ["prefill", "decode"]);
  assert.deepEqual(await rolesOf("single"), ["combined"]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const [name, policy] of [
    ["pair", "f32"],
    ["single", "w8a16"],
  ]) {
    const info = new RegExp(`^daysix_build_info\\{model_name="${name}",.*policy="${policy}"`, "m");
    assert.match(metrics, info);
  }
  server.process.kill("SIGTERM");
  const { status, said } = await server.ended;
  assert.equal(status, 0, said);
  assert.match(
    said,
    /DaySix serves pair, single at .*\n {2}pair: prefill=1x1,decode=1x1, policy f32/,
  );
  assert.match(said, /\n {2}single: combined=1x1, policy w8a16, /);
  assert.deepEqual(await recordsOf(ledger), ["start", "complete", "complete", "stop"]);
});
