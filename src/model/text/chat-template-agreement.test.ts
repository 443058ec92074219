import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Template } from "@huggingface/jinja";
import fc from "fast-check";
import {
  BEGIN,
  directory,
  END,
  jinjaOf,
  load,
  noTemplates,
  shared,
  textOf,
  tinyTokenizer,
} from "./chat-fixtures.ts";
import type { ChatMessage } from "./chat-message.ts";
import { loadChatTemplate, type RenderOptions } from "./chat-template.ts";

const tokenizer = await tinyTokenizer();

const someWords = fc.string({
  unit: fc.constantFrom(..."a the hello 12 中 \n".split(" "), " ", "👍"),
});
const call = fc.record({
  type: fc.constant("function"),
  function: fc.record({
    name: fc.constantFrom("sky", "sea"),
    arguments: fc.dictionary(
      fc.constantFrom("a", "b"),
      fc.oneof(someWords, fc.nat(), fc.boolean()),
    ),
  }),
});

/** Turns as a client sends them: system first or not, calls answered, ending in a question or in tools' outputs. */
const conversations = (callRounds: number) =>
  fc
    .record({
      system: fc.option(someWords),
      past: fc.array(fc.tuple(someWords, someWords), { maxLength: 3 }),
      question: someWords,
      calls: fc.array(fc.array(call, { minLength: 1, maxLength: 3 }), { maxLength: callRounds }),
      answer: fc.option(someWords),
    })
    .map(({ system: begin, past, question, calls, answer }) => {
      const messages: ChatMessage[] = begin === null ? [] : [{ role: "system", content: begin }];
      for (const [asked, said] of past) {
        messages.push({ role: "user", content: asked }, { role: "assistant", content: said });
      }
      messages.push({ role: "user", content: question });
      for (const round of calls) {
        messages.push({ role: "assistant", content: null, tool_calls: round });
        round.forEach((each) => messages.push({ role: "tool", content: each.function.name }));
      }
      if (calls.length > 0 && answer !== null) {
        messages.push({ role: "assistant", content: answer }, { role: "user", content: "Next" });
      }
      return messages;
    });

/** The template's own rendering equals ours for every generated conversation. */
async function assertAgrees(
  source: string,
  { callRounds, options = {} }: { callRounds: number; options?: RenderOptions },
): Promise<void> {
  const ours = await load(source);
  const theirs = new Template(source);
  fc.assert(
    fc.property(conversations(callRounds), (messages) => {
      const text = theirs.render({
        ...options,
        messages,
        add_generation_prompt: true,
        bos_token: BEGIN,
        eos_token: END,
      });
      assert.equal(textOf(ours, messages, options), text);
      const tokens = ours.render(messages, options);
      assert.deepEqual(tokens, tokenizer.encode(text, { specials: true }));
      assert.equal(tokens.filter((token) => token === tokenizer.bos).length, 1);
    }),
  );
}

test(
  "V3.1's template agrees, thinking or not, with calls and without",
  { skip: noTemplates },
  async () => {
    // This copy writes <think></think> where the model card and DeepSeek's own file write </think> alone.
    const source = jinjaOf("deepseek-ai-DeepSeek-V3.1").replaceAll("<think></think>", "</think>");
    await assertAgrees(source, { callRounds: 3 });
    await assertAgrees(source, { callRounds: 3, options: { thinking: true } });
  },
);

test("R1's template agrees, with calls and without", { skip: noTemplates }, async () => {
  // This copy mends the published one's calls, and repeats no opening for a second round of outputs.
  const source = jinjaOf("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B");
  await assertAgrees(source, { callRounds: 1, options: { enable_thinking: true } });
  await assertAgrees(jinjaOf("deepseek-ai-DeepSeek-R1-Distill-Llama-8B"), { callRounds: 0 });
});

test(
  "V3's template agrees on conversations without calls",
  {
    skip: existsSync(join(shared, "deepseek-v3-tokenizer")) ? false : "no ../shared/data here",
  },
  async () => {
    const file = join(shared, "deepseek-v3-tokenizer/tokenizer_config.json");
    const { chat_template } = JSON.parse(readFileSync(file, "utf8"));
    await assertAgrees(chat_template, { callRounds: 0 });
  },
);

test("the tiny tokenizer's template is recognised and agrees", async () => {
  const config = await readFile(join(directory, "tokenizer_config.json"), "utf8");
  const { chat_template } = JSON.parse(config);
  assert.equal((await loadChatTemplate(directory, tokenizer)).family, "deepseek-v3.1");
  await assertAgrees(chat_template, { callRounds: 0, options: { thinking: true } });
});

test("other templates are rendered by their own Jinja", { skip: noTemplates }, async () => {
  const source = jinjaOf("Kimi-K2-Instruct");
  const template = await load(source);
  assert.equal(template.family, "jinja");
  assert.equal(template.toolCallFormat, "kimi-k2");
  // This copy pops a list for a tool's output, which the library's Jinja cannot.
  fc.assert(
    fc.property(conversations(0), (messages) => {
      const expected = new Template(source).render({ messages, add_generation_prompt: true });
      assert.equal(textOf(template, messages), expected);
    }),
  );
  for (const name of ["deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4", "Qwen-Qwen3-0.6B"]) {
    const other = await load(jinjaOf(name));
    assert.equal(other.family, "jinja");
    assert.ok(textOf(other, [{ role: "user", content: "hello" }]).includes("hello"));
  }
});
