import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("./main.js", import.meta.url));
const directory = await mkdtemp(join(tmpdir(), "daysix-report-"));
const ledger = join(directory, "ledger.jsonl");
after(() => rm(directory, { recursive: true }));

const topology = (time: string, event: string) =>
  `{"kind":"topology","time":"${time}","event":"${event}","prefillNodes":0,"decodeNodes":0,` +
  `"combinedNodes":1,"acceleratorsPerNode":2}\n`;
await writeFile(
  ledger,
  `${topology("2026-11-24T10:00:00Z", "start")}{"kind":"requ\n` +
    topology("2026-11-24T13:00:00Z", "stop"),
);

interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

const report = (...options: string[]) =>
  new Promise<Ran>((done) => {
    const child = execFile(process.execPath, [main, "report", ...options], (_, out, err) =>
      done({ status: child.exitCode ?? -1, out, err }),
    );
  });

test("the published day is printed beside what DeepSeek printed", async () => {
  const { status, out } = await report("--published-day");
  assert.equal(status, 0);
  for (const line of [
    /^cost +\$87,072\.00 +published: \$87,072$/m,
    /^theoretical income +\$562,100\.00 +published: \$562,027$/m,
    /^ +profit over cost +545\.6 % +published: 545 %$/m,
    /^ +hit share +56\.3 % +published: 56\.3 %$/m,
    /^nodes, on average +226\.75 +published: 226\.75$/m,
    /^prefill per node +73,686\.3 tokens\/s +published: ~73\.7k tokens\/s$/m,
    /^decode per node +14,814\.8 tokens\/s +published: ~14\.8k tokens\/s$/m,
    /half a billion output tokens alone are \$1,095\./,
    /^ +less: model prices +\$\d/m,
    /^ +less: unbilled +\$281,050\.00$/m,
    /^ +less: discounts +\$\d/m,
  ]) {
    assert.match(out, line);
  }
  const json = JSON.parse((await report("--published-day", "--json")).out) as object;
  assert.deepEqual({ ...json, cost: "87072", theoreticalIncome: "562100" }, json);
});

test("a ledger is told with its price of an accelerator, and a torn line by its number", async () => {
  const { status, out, err } = await report("--ledger", ledger, "--accelerator-hour", "0.35");
  assert.equal(status, 0);
  assert.match(out, /^2026-11-24T10:00:00\.000Z to 2026-11-24T13:00:00\.000Z$/m);
  assert.match(out, /^node-hours +3\.00$/m);
  assert.match(out, /^cost +\$2\.100000$/m);
  assert.match(out, /^output speed +–$/m);
  assert.ok(err.startsWith(`daysix: ${ledger}:2: `), err);
});

test("JSON has every digit, ISO times and the unreadable lines", async () => {
  const period = ["--since", "2026-11-24T12:00:00+01:00", "--until", "2026-11-25"];
  const { out } = await report("--ledger", ledger, "--json", ...period);
  const { from, cost, acceleratorHours, unreadable } = JSON.parse(out) as Record<string, string>;
  assert.deepEqual([from, cost, acceleratorHours], ["2026-11-24T11:00:00.000Z", "8", 4]);
  assert.equal(unreadable.length, 1);
});

test("what is wrong is said in one line that names the option", async () => {
  for (const [options, said] of [
    [[], /^daysix: --ledger: give the file/],
    [["--ledger", ledger, "--since", "yesterday"], /^daysix: --since: expected an ISO 8601 time/],
    [["--ledger", ledger, "--until", "2026-11-24T10:00"], /^daysix: --until: expected an ISO 8601/],
    [
      ["--ledger", ledger, "--since", "2026-11-25", "--until", "2026-11-24"],
      /^daysix: --until: expected a time after --since/,
    ],
    [["--ledger", ledger, "--accelerator-hour", "cheap"], /^daysix: --accelerator-hour: expected/],
  ] as const) {
    const { status, err } = await report(...options);
    assert.equal(status, 2);
    assert.match(err, said);
    assert.equal(err.split("\n").length, 2);
  }
  for (const [name, text] of [
    ["empty.jsonl", ""],
    ["config.json", '{\n  "model_type": "deepseek_v3"\n}\n'],
  ]) {
    const path = join(directory, name);
    await writeFile(path, text);
    const { status, out, err } = await report("--ledger", path);
    const lines = text.split("\n").length - 1;
    assert.deepEqual([status, out], [2, ""]);
    assert.equal(err, `daysix: --ledger: ${path} has no record, in ${lines} lines\n`);
  }
  const { status, err } = await report("--ledger", join(directory, "none"));
  assert.deepEqual([status, /ENOENT.*none/.test(err)], [1, true]);
});
