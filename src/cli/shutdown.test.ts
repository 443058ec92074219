import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { ManualClock } from "../cluster/fixtures.ts";
import { Shutdown } from "./shutdown.ts";

/** Resources that note their closing, and what is told of those that fail. */
function scene() {
  const clock = new ManualClock();
  const log: string[] = [];
  const shutdown = new Shutdown((problem) => log.push((problem as Error).message), clock);
  const opened = (name: string, close: () => Promise<unknown>) =>
    shutdown.opened({
      name,
      withinMs: 1000,
      close: () => {
        log.push(name);
        return close();
      },
    });
  return { clock, log, shutdown, opened };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("everything is closed, last opened first, though some of it fails or never ends", async () => {
  const { clock, log, shutdown, opened } = scene();
  opened("ledger", async () => undefined);
  opened("trace", () => {
    throw new Error("no such file");
  });
  opened("engine", () => new Promise(() => undefined));
  opened("server", () => Promise.reject(new Error("a bug")));
  const closed = shutdown.close();
  await settle();
  clock.advance(999);
  await settle();
  assert.deepEqual(log, ["server", "server did not close: a bug", "engine"]);
  clock.advance(1);
  await closed;
  assert.deepEqual(log.slice(3), [
    "engine did not close: not within 1 s",
    "trace",
    "trace did not close: no such file",
    "ledger",
  ]);
  assert.equal(clock.pending, 0);
});

/** A process that stays until it is stopped, and then closes two things. */
async function run(work: string, act: (signal: (name: NodeJS.Signals) => void) => Promise<void>) {
  const script = `
    import { runUntilStopped } from ${JSON.stringify(new URL("./shutdown.js", import.meta.url))};
    import { setTimeout as sleep } from "node:timers/promises";
    setInterval(() => undefined, 1000);
    await runUntilStopped(async (shutdown) => {
      const opened = (name, withinMs, close) => shutdown.opened({ name, withinMs, close });
      opened("the first", 1000, async () => console.log("closed"));
      ${work}
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
  let out = "";
  let err = "";
  child.stderr.on("data", (data) => (err += data));
  const started = new Promise<void>((resolve) =>
    child.stdout.on("data", (data) => {
      out += data;
      if (out.includes("started")) resolve();
    }),
  );
  const ended = once(child, "close");
  await Promise.race([started, ended]);
  await act((name) => child.kill(name));
  const [status, signal] = await ended;
  return { status, signal, out, err };
}

const never = `console.log("started"); await new Promise(() => undefined);`;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  test(`${signal} closes what is open, and whatever else is open does not keep the process`, async () => {
    const { status, out, err } = await run(never, async (send) => send(signal));
    assert.deepEqual([status, out], [0, "started\nclosed\n"]);
    assert.match(err, /^daysix: SIG\w+: finishing what is live; .*\n$/);
  });
}

test("work that fails, an error nobody caught and what does not close all end in status 1", async () => {
  const stays = 'opened("the second", 100, () => new Promise(() => undefined));';
  const works: [work: string, said: RegExp][] = [
    [`throw new Error("the engine has ended");`, /^daysix: the engine has ended\n$/],
    [`setTimeout(() => { throw new Error("a bug"); }); ${never}`, /Error: a bug/],
    [`setTimeout(() => Promise.reject(new Error("a bug"))); ${never}`, /Error: a bug/],
    [`${stays} return;`, /^daysix: the second did not close: not within 0\.1 s\n$/],
  ];
  for (const [work, said] of works) {
    const { status, out, err } = await run(work, async () => undefined);
    assert.equal(status, 1, work);
    assert.match(err, said);
    assert.match(out, /closed\n$/);
  }
});

test("the signal's echo is no second signal, nor is a SIGHUP; a later SIGTERM ends at once", async () => {
  const stays = 'opened("the second", 60_000, () => new Promise(() => undefined));';
  const { status, out } = await run(stays + never, async (send) => {
    for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) send(signal);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    send("SIGHUP");
    await new Promise((resolve) => setTimeout(resolve, 100));
    send("SIGTERM");
  });
  assert.equal(status, 143);
  assert.doesNotMatch(out, /closed/);
});

test("a thread that hangs in the kernel does not keep the process", async () => {
  const pipe = join(await mkdtemp(join(tmpdir(), "daysix-shutdown-")), "pipe");
  execFileSync("mkfifo", [pipe]);
  const hangs = `
    const { open } = await import("node:fs/promises");
    void open(${JSON.stringify(pipe)});
    await sleep(100);
    return;`;
  const { signal, out } = await run(hangs, async () => undefined);
  await rm(dirname(pipe), { recursive: true });
  assert.deepEqual([signal, out], ["SIGKILL", "closed\n"]);
});
