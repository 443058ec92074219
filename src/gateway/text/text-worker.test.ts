import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { loadChatTemplate, Tokenizer } from "../../model/index.ts";
import { writeTinyTokenizer } from "../../model/text/tokenizer-fixtures.ts";
import { ApiError } from "../errors.ts";
import { TextWorker } from "./text-worker.ts";

const nobodyLeaves = new AbortController().signal;
const LIMIT = 200;
const raw = (...texts: string[]) => ({ kind: "raw", texts, begins: true, limit: LIMIT }) as const;
const chat = (content: string, options = {}) =>
  ({ kind: "chat", messages: [{ role: "user", content }], options, limit: LIMIT }) as const;

const root = await mkdtemp(join(tmpdir(), "daysix-text-"));
after(() => rm(root, { recursive: true }));

/** A folder whose tokenizer files are changed as the test needs. */
async function folder(changes: { template?: string; pattern?: string } = {}): Promise<string> {
  const directory = await mkdtemp(join(root, "model-"));
  await writeTinyTokenizer(directory);
  if (changes.template !== undefined) {
    await writeFile(join(directory, "chat_template.jinja"), changes.template);
  }
  if (changes.pattern !== undefined) {
    const path = join(directory, "tokenizer.json");
    const file = JSON.parse(await readFile(path, "utf8"));
    file.pre_tokenizer.pretokenizers[0].pattern.Regex = changes.pattern;
    await writeFile(path, JSON.stringify(file));
  }
  return directory;
}

/** Ends where a conversation of this module is short, and never where its words ask for it. */
const ENDLESS_WHEN_ASKED = `{{ bos_token }}{{ messages[0].content }}{% if messages[0].content == 'loop' %}
{%- for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}{% endif %}
{%- if messages[0].content == 'grow' %}{% for a in range(1000000000) %}{% endfor %}{% endif %}`;

test("prompts are those of the tokenizer and the template, as arrays of their own", async () => {
  const directory = await folder();
  const tokenizer = await Tokenizer.load(directory);
  const template = await loadChatTemplate(directory, tokenizer);
  const text = await TextWorker.start(directory);
  try {
    const [first, second] = await text.perform(raw("hello <think>", "the 中"), nobodyLeaves);
    const { bos = -1 } = tokenizer;
    assert.ok(first instanceof Uint32Array);
    assert.deepEqual([...first], [bos, ...tokenizer.encode("hello <think>", { specials: true })]);
    assert.deepEqual([...second], [bos, ...tokenizer.encode("the 中", { specials: true })]);
    const [prompt] = await text.perform(chat("hello", { thinking: true }), nobodyLeaves);
    const { messages } = chat("hello");
    assert.deepEqual([...prompt], template.render(messages, { thinking: true }));
    assert.equal(text.toolCallFormat, template.toolCallFormat);
    const { vocabulary } = text;
    assert.equal(vocabulary.vocabSize, tokenizer.vocabSize);
    for (let token = 0; token < tokenizer.vocabSize; token++) {
      assert.deepEqual([...vocabulary.tokenBytes(token)], [...tokenizer.tokenBytes(token)]);
      assert.equal(vocabulary.isSpecial(token), tokenizer.isSpecial(token));
    }
    const [long] = await text.perform(raw("a ".repeat(2 ** 20)), nobodyLeaves);
    assert.ok(long.length > LIMIT && long.length < LIMIT + 10, `${long.length} tokens`);
    const unsayable = { ...chat(""), messages: [{ role: "robot", content: "" }] };
    await assert.rejects(text.perform(unsayable, nobodyLeaves), { status: 400, param: /role/ });
  } finally {
    await text.close();
  }
});

test("a text that never ends, or grows without end, is refused alone", async () => {
  const directory = await folder({ template: ENDLESS_WHEN_ASKED, pattern: "(x+x+)+y" });
  const text = await TextWorker.start(directory, { taskLimitMs: 1500 });
  try {
    const endless = [chat("loop"), raw(`${"x".repeat(60)}z`), chat("grow")];
    const tasks = endless.flatMap((task) => [
      text.perform(chat("hello"), nobodyLeaves),
      assert.rejects(text.perform(task, nobodyLeaves), {
        status: 400,
        code: "text_too_costly",
        message: /took longer than 1500 ms|needed more than \d+ MiB/,
      }),
    ]);
    await Promise.all(tasks);
    assert.ok((await text.perform(chat("hello"), nobodyLeaves))[0].length > 0);
  } finally {
    await text.close();
  }
});

test("a folder whose files never come to an end is refused by the file's name", async () => {
  const loop = "{% for a in range(100000) %}".repeat(4) + "{% endfor %}".repeat(4);
  const cases: [changes: Parameters<typeof folder>[0], message: RegExp][] = [
    [{ pattern: "(a+)+b" }, /tokenizer\.json: encoding 4096 letters took longer than 2500 ms$/],
    [{ template: loop }, /chat_template\.jinja: rendering a conversation .* took longer than/],
    [
      { template: "{% for a in range(1000000000) %}{% endfor %}" },
      /chat_template\.jinja: rendering a conversation .* (took longer|needed more) than/,
    ],
  ];
  for (const [changes, message] of cases) {
    const directory = await folder(changes);
    await assert.rejects(TextWorker.start(directory, { startLimitMs: 2500 }), { message });
  }
});

test("without a template prompts are taken raw and chat is refused by name; a file brings one", async () => {
  const directory = await folder();
  await writeFile(join(directory, "tokenizer_config.json"), "{}");
  const file = join(directory, "mine.jinja");
  await writeFile(file, "{{ messages[0].content[9].wings }}{{ messages[0].content }}!");
  const without = await TextWorker.start(directory);
  const own = await TextWorker.start(directory, { chatTemplate: file });
  try {
    assert.equal((await without.perform(raw("hello"), nobodyLeaves)).length, 1);
    await assert.rejects(without.perform(chat("hello"), nobodyLeaves), {
      ...{ status: 400, param: "messages" },
      message: /no chat template; ask \/v1\/completions/,
    });
    const [prompt] = await own.perform(chat("long enough"), nobodyLeaves);
    assert.equal(own.vocabulary.decode([...prompt]), "long enough!");
    // The template's fault is the server's, and its path is for the log alone.
    await assert.rejects(own.perform(chat("short"), nobodyLeaves), (error) => {
      return !(error instanceof ApiError) && (error as Error).message.includes("mine.jinja");
    });
  } finally {
    await without.close();
    await own.close();
  }
});

test("a text at work does not outlive a gateway that was killed", async () => {
  const directory = await folder({ template: ENDLESS_WHEN_ASKED });
  const script = `
    import { TextWorker } from ${JSON.stringify(new URL("./text-worker.js", import.meta.url))};
    const text = await TextWorker.start(${JSON.stringify(directory)}, { taskLimitMs: 60_000 });
    void text.perform(${JSON.stringify(chat("loop"))}, new AbortController().signal);
    console.log("at work");`;
  const gateway = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(gateway.stdout, "data");
  const children = await readFile(`/proc/${gateway.pid}/task/${gateway.pid}/children`, "utf8");
  const [child] = children.trim().split(" ");
  assert.ok(existsSync(`/proc/${child}`));
  gateway.kill("SIGKILL");
  await once(gateway, "exit");
  while (existsSync(`/proc/${child}`)) await sleep(20);
});
