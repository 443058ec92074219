import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { digestOf } from "../keys/digest.ts";
import { Keyring } from "../keys/index.ts";
import { Accounts } from "../billing/index.ts";
import { defaultPrices } from "../billing/deepseek-prices.ts";
import { openFakeLedger } from "../billing/ledger-fixtures.ts";
import { type ScriptedServer, startScriptedServer } from "./scripted-fixtures.ts";

const keyOf = (name: string) => ({ name, sha256: digestOf(`key of ${name}`) });
const clock = { now: Date.UTC(2026, 10, 29, 12) };
const now = () => clock.now;

let server: ScriptedServer;
let lines: () => string;
before(async () => {
  const keys = [
    { ...keyOf("ann"), concurrency: 1 },
    { ...keyOf("bob"), tokens_per_minute: 60 },
    { ...keyOf("dora"), operator: true },
    { ...keyOf("carl"), budget: { dollars: 1n, per: "day" as const } },
  ];
  const { ledger, file } = await openFakeLedger();
  lines = () => file.content;
  const accounts = new Accounts({ ledger, prices: defaultPrices, now });
  server = await startScriptedServer({
    ...{ keyring: new Keyring(undefined, keys, now), accounts, now },
  });
});
after(() => server.close());

const ask = (name: string, signal?: AbortSignal, more: object = {}) =>
  fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": `key of ${name}` },
    body: JSON.stringify({
      model: "calf",
      messages: [{ role: "user", content: "a long question ".repeat(5) }],
      stream: true,
      ...more,
    }),
    ...(signal ? { signal } : {}),
  });

async function assertRefused(name: string, code: string, seconds: number): Promise<void> {
  const response = await ask(name);
  const { error } = (await response.json()) as { error: { code: string; type: string } };
  assert.deepEqual([response.status, error.code, error.type], [429, code, "rate_limit_error"]);
  assert.equal(response.headers.get("retry-after"), `${seconds}`);
}

test("a key's tokens and dollars run out, and the others' do not", async () => {
  server.say("a", "b", "c");
  for (const name of ["bob", "carl"]) {
    const response = await ask(name);
    assert.equal(response.status, 200, await response.text());
  }
  assert.match(lines(), /"tenant":"bob"[^]*"tenant":"carl"/);
  const { headers } = await ask("bob");
  assert.ok(Number(headers.get("retry-after")) > 1);
  await assertRefused("carl", "insufficient_quota", 12 * 3600);
  clock.now += 86_400_000;
  const response = await ask("carl");
  assert.equal(response.status, 200, await response.text());
});

test("a request more than a key may have at a time is refused until one has ended", async () => {
  const leave = new AbortController();
  server.say(undefined);
  const first = ask("ann", leave.signal).catch(() => undefined);
  while (server.prompts.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  await assertRefused("ann", "concurrency_limit", 1);
  leave.abort();
  await first;
  server.say("a");
  let response = await ask("ann");
  while (response.status === 429) response = await ask("ann");
  assert.equal(response.status, 200, await response.text());
});

test("a request is one of its key's while its constraint is read, and no longer where that is refused", async () => {
  const broken = () => ask("ann", undefined, { guided_regex: "(" });
  const responses = await Promise.all(Array.from({ length: 5 }, broken));
  const statuses = responses.map(({ status }) => status).sort((a, b) => a - b);
  assert.deepEqual([statuses[0], statuses[4]], [400, 429]);
  assert.equal((await broken()).status, 400);
});

test("only an operator's key may change what serves", async () => {
  const change = (name: string, path: string) =>
    fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": `key of ${name}` },
      body: path === "/scale" ? '{"combined":2}' : "{}",
    });
  for (const path of ["/scale", "/rebalance"]) {
    const refused = await change("ann", path);
    const { error } = (await refused.json()) as { error: { code: string; type: string } };
    assert.deepEqual(
      [refused.status, error.code, error.type],
      [403, "not_an_operator", "permission_error"],
    );
    const { status } = await change("dora", path);
    assert.ok(status === 200 || status === 400, `${path} ${status}`);
  }
});

test("a key that nobody has opens nothing", async () => {
  assert.equal((await ask("nobody")).status, 401);
});
