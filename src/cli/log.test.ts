import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { hints, isOpenToAll, urlOf } from "./greeting.ts";
import { openLog } from "./log.ts";

/** What a process says on stderr that opens its log so. */
function said(flags: object, isTerminal: boolean, problem = "new Error('no more disk')") {
  const script = `
    import { openLog } from ${JSON.stringify(new URL("./log.js", import.meta.url))};
    import { notice, printProblem } from ${JSON.stringify(new URL("./notice.js", import.meta.url))};
    const { log } = openLog(${JSON.stringify(flags)}, ${isTerminal});
    log.info("not wanted");
    log.warn({ rank: 3 }, "lost");
    notice("waiting");
    process.exitCode = printProblem(${problem});`;
  const argv = ["--input-type=module", "-e", script];
  const { stderr, status } = spawnSync(process.execPath, argv, { encoding: "utf8" });
  return { status, lines: stderr.trim().split("\n") };
}

test("the log is text on a terminal, JSON in a pipe, and notices and problems are part of it", () => {
  const plain = said({ logLevel: "warn", logFormat: "text" }, false);
  const [time, kind] = [String.raw`^\[\d\d:\d\d:\d\d\.\d{3}\] `, ": "];
  const lines = [`WARN${kind}lost {"rank":3}`, `INFO${kind}waiting`, `ERROR${kind}no more disk`];
  assert.equal(plain.lines.length, lines.length, plain.lines.join("\n"));
  for (const [i, line] of lines.entries()) {
    assert.match(plain.lines[i], new RegExp(`${time}${line.replace(/[{}"]/g, "\\$&")}$`));
  }
  const piped = said({ logLevel: "warn" }, false).lines.map((line) => {
    const { level, msg, rank } = JSON.parse(line) as Record<string, unknown>;
    return [level, msg, rank];
  });
  assert.deepEqual(piped, [
    [40, "lost", 3],
    [30, "waiting", undefined],
    [50, "no more disk", undefined],
  ]);
});

test("a terminal has colours, a silent log says nothing, and what was mistyped is said plainly", () => {
  assert.ok(said({ logLevel: "warn" }, true).lines[0].includes("\u001B[33mWARN"));
  assert.deepEqual(said({ logLevel: "silent" }, false).lines, [""]);
  const usage = "Object.assign(new Error('--port: no'), { name: 'UsageError' })";
  const { lines, status } = said({ logLevel: "warn" }, false, usage);
  assert.ok(lines.includes("daysix: --port: no"), lines.join("\n"));
  assert.equal(status, 2);
});

test("levels and forms that there are not are named beside those that there are", () => {
  assert.throws(() => openLog({ logLevel: "loud" }), {
    message: "--log-level: expected silent, fatal, error, warn, info, debug or trace, got loud",
  });
  assert.throws(() => openLog({ logLevel: "warn", logFormat: "xml" }), {
    message: "--log-format: expected text or json, got xml",
  });
});

test("hints have the server's address, and where a key is needed its place but not the key", () => {
  assert.deepEqual(hints("http://127.0.0.1:8000", false), {
    chat: "npx daysix chat",
    curl: "curl http://127.0.0.1:8000/v1/models",
  });
  assert.deepEqual(hints("http://127.0.0.1:9000", true), {
    chat: "DAYSIX_API_KEY=… npx daysix chat --url http://127.0.0.1:9000",
    curl: 'curl -H "authorization: Bearer …" http://127.0.0.1:9000/v1/models',
  });
  assert.equal(urlOf("0.0.0.0", 1), "http://127.0.0.1:1");
  assert.equal(urlOf("::", 1), "http://[::1]:1");
  assert.equal(urlOf("10.0.0.5", 1), "http://10.0.0.5:1");
});

test("a server is open to all where it listens to others and asks for no key", () => {
  assert.equal(isOpenToAll({ host: "0.0.0.0" }), true);
  assert.equal(isOpenToAll({ host: "::" }), true);
  for (const door of [{ host: "127.0.0.1" }, { host: "::1" }, { host: "localhost" }]) {
    assert.equal(isOpenToAll(door), false, door.host);
  }
  assert.equal(isOpenToAll({ host: "0.0.0.0", apiKey: "k" }), false);
  assert.equal(isOpenToAll({ host: "0.0.0.0", keys: [] }), false);
});
