import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startEchoServer } from "./server-fixtures.ts";

const main = fileURLToPath(new URL("../main.js", import.meta.url));
const state = mkdtempSync(join(tmpdir(), "daysix-chat-"));
const server = await startEchoServer();
after(() => {
  server.close();
  rmSync(state, { recursive: true });
});
const environment = { ...process.env, XDG_STATE_HOME: state, TERM: "xterm" };

/** util-linux gives a command a terminal. */
const hasTerminal = /util-linux/.test(
  spawnSync("script", ["--version"], { encoding: "utf8" }).stdout ?? "",
);
const skip = hasTerminal ? false : "there is no script of util-linux to make a terminal with";

/** `daysix chat` as a person has it: what the screen says, and keys. */
class Screen {
  readonly ended: Promise<number | null>;
  readonly #process: ChildProcess;
  #text = "";
  #read = 0;

  constructor(flags: readonly string[] = [], url = server.url) {
    const command = [process.execPath, main, "chat", "--url", url, ...flags]
      .map((word) => `'${word}'`)
      .join(" ");
    this.#process = spawn("script", ["-qefc", command, "/dev/null"], { env: environment });
    this.#process.stdout!.on("data", (bytes: Buffer) => (this.#text += bytes.toString()));
    this.ended = new Promise((resolve) => this.#process.on("exit", resolve));
  }

  type(keys: string): void {
    this.#process.stdin!.write(keys);
  }

  /** Resolves when the screen says it, below what was waited for before; fails if the chat ends first. */
  async says(text: string): Promise<void> {
    let hasEnded = false;
    void this.ended.then(() => (hasEnded = true));
    for (;;) {
      const at = this.#text.indexOf(text, this.#read);
      if (at >= 0) {
        this.#read = at + text.length;
        return;
      }
      assert.ok(!hasEnded, `ended without ${JSON.stringify(text)}: ${JSON.stringify(this.#text)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** What a person sees of it. */
  get plain(): string {
    return stripVTControlCharacters(this.#text);
  }
}

const ENTER = "\r";
const CONTROL_C = "\u0003";
const prompt = "> ";

test(
  "a person talks, stops an answer, pastes lines, sees a failure and ends",
  { skip },
  async () => {
    const asked = server.bodies.length;
    const screen = new Screen(["--system", "be brief", "--temperature", "0", "--seed", "7"]);
    await screen.says("echo at ");
    await screen.says(prompt);
    screen.type(`forever${ENTER}`);
    await screen.says('said "forever"');
    screen.type(CONTROL_C);
    await server.left;
    await screen.says("stopped");
    await screen.says(prompt);
    screen.type(`fail${ENTER}`);
    await screen.says("failed: ");
    await screen.says("no luck");
    await screen.says(prompt);
    screen.type("\u001B[200~one\rtwo\rthree\u001B[201~");
    await screen.says("three");
    screen.type(`!${ENTER}`);
    await screen.says(String.raw`said "one\ntwo\nthree!"`);
    await screen.says("64 of 80 prompt tokens from the cache");
    await screen.says(prompt);
    screen.type(`half a line${CONTROL_C}`);
    await screen.says("half a line");
    await screen.says(prompt);
    screen.type(CONTROL_C);
    await screen.says("Ctrl+C again");
    await screen.says(prompt);
    screen.type(CONTROL_C);
    assert.equal(await screen.ended, 0);

    const [forever, , pasted] = server.bodies.slice(asked);
    assert.equal(server.bodies.length, asked + 3);
    assert.deepEqual([forever.seed, forever.temperature], [7, 0]);
    assert.deepEqual(pasted.messages, [
      { role: "system", content: "be brief" },
      { role: "user", content: "forever" },
      { role: "assistant", content: 'said "forever"' },
      { role: "user", content: "one\ntwo\nthree!" },
    ]);
    assert.match(screen.plain, /hm\r?\nsaid "forever"\r?\nstopped/);
  },
);

test(
  "what was entered is there the next time, and commands change what is asked",
  { skip },
  async () => {
    const file = join(state, "daysix", "chat-history");
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(readFileSync(file, "utf8"), "forever\nfail\none\ntwo\nthree!\n");
    const screen = new Screen();
    await screen.says(prompt);
    const up = "\u001B[A";
    screen.type(up.repeat(4));
    await screen.says("fail");
    screen.type(`ed?${ENTER}`);
    await screen.says('said "failed?"');
    await screen.says(prompt);
    screen.type(`/clear${ENTER}`);
    await screen.says("is forgotten");
    await screen.says(prompt);
    const saved = join(state, "saved.json");
    for (const [line, answer] of [
      ["/help", "/system [TEXT|none]"],
      ["/model other", "other, of echo, other"],
      ["/model none", "serves no none; it serves echo, other"],
      ["/think off", "answers without thinking"],
      ["/system be kind", "system message: be kind"],
      ["/frobnicate", "there is no /frobnicate"],
      ["//bye", 'said "/bye"'],
      ["/tmp/x /*", 'said "/tmp/x /*"'],
      [`/save ${saved}`, "5 messages in "],
      [`/save ${saved}`, "failed: EEXIST"],
      ["/clear", "is forgotten"],
      ["again", 'said "again"'],
      ["a\\", "… "],
      ["b", String.raw`said "a\nb"`],
    ]) {
      screen.type(line + ENTER);
      await screen.says(answer);
      await screen.says(answer === "… " ? "" : prompt);
    }
    screen.type(`/bye${ENTER}`);
    assert.equal(await screen.ended, 0);
    const again = server.bodies.at(-2)!;
    assert.equal(again.model, "other");
    assert.deepEqual(again["chat_template_kwargs"], { thinking: false });
    assert.deepEqual(again.messages, [
      { role: "system", content: "be kind" },
      { role: "user", content: "again" },
    ]);
    const kept = JSON.parse(readFileSync(saved, "utf8")) as { messages: unknown[] };
    assert.equal(kept.messages.length, 5);
  },
);

/** `daysix serve` on the bundled model. */
async function startCalf(): Promise<{ readonly url: string; readonly process: ChildProcess }> {
  const topology = ["--topology", "prefill=1x1,decode=1x1"];
  const child = spawn(process.execPath, [main, "serve", "--port", "0", ...topology]);
  let said = "";
  for await (const data of child.stdout) {
    said += data;
    const [, url] = /watch it at (\S+)\//.exec(said) ?? [];
    if (url) return { url, process: child };
  }
  throw new Error(`the server has ended: ${said}`);
}

test("calf is asked what a newcomer asks", { skip }, async (t) => {
  const calf = await startCalf();
  t.after(() => calf.process.kill());
  const screen = new Screen(["--temperature", "0"], calf.url);
  await screen.says(`calf at ${calf.url} (/help lists commands, /bye ends)`);
  await screen.says(prompt);
  screen.type(`What is 47 + 38?${ENTER}`);
  await screen.says(" prompt tokens from the cache");
  await screen.says(prompt);
  screen.type(`/bye${ENTER}`);
  assert.equal(await screen.ended, 0);
  const [, answer] = screen.plain.split("What is 47 + 38?");
  assert.match(
    answer,
    /=85\r?\n85\r?\n37 tokens, \d+\.\d tokens\/s, first after \d+\.\d\d s; 0 of 14 prompt/,
  );
});

/** `daysix chat` with nothing but pipes. */
function piped(input: string, ...words: string[]) {
  const child = spawn(process.execPath, [main, "chat", "--url", server.url, ...words], {
    env: environment,
  });
  child.stdin.end(input);
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (bytes: Buffer) => (said[name] += bytes.toString()));
  }
  return new Promise<typeof said & { status: number | null }>((resolve) => {
    child.on("close", (status) => resolve({ ...said, status }));
  });
}

test("a question on the command line or in a pipe is answered in plain text, once", async () => {
  const [both, failed, nothing] = await Promise.all([
    piped("text\n", "Sum up:"),
    piped("fail\n"),
    piped(""),
  ]);
  assert.deepEqual([both.stderr, both.status], ["", 0]);
  assert.equal(both.stdout, String.raw`said "Sum up:\n\ntext"` + "\n");
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /^daysix: .* answers 500: no luck/);
  assert.match(nothing.stderr, /there is no question/);
});
