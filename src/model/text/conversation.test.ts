/** Whole conversations, from what models say to the prompts of the turns that follow. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { directory, loadWith, textOf } from "./chat-fixtures.ts";
import type { ChatMessage } from "./chat-message.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { type Call, callMarkers, cut, read, toolsOf, written } from "./tool-call-fixtures.ts";
import type { ToolCallFormat } from "./tool-call-formats.ts";
import { writeTinyTokenizer } from "./tokenizer-fixtures.ts";
import { Tokenizer } from "./tokenizer.ts";
import { repositoryRoot } from "../fixtures.ts";

/** `npm run soak:text` asks for 10,000. */
const CONVERSATIONS = Number(process.env["DAYSIX_CONVERSATIONS"] ?? 50);

const folder = await mkdtemp(join(directory, "conversation-"));
await writeTinyTokenizer(folder, callMarkers);
const tokenizer = await Tokenizer.load(folder);

const published = (name: string) =>
  readFileSync(join(repositoryRoot, `fixtures/chat-templates/templates/${name}.jinja`), "utf8");

/** DeepSeek-V3's shape without calls, which are the family's. */
const v3 =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}" +
  "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% elif m.role == 'assistant' %}" +
  "<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}{{ '<｜Assistant｜>' }}";

const templates: Record<ToolCallFormat, ChatTemplate> = {
  "deepseek-v3": await loadWith(tokenizer, v3),
  "deepseek-v3.1": await loadWith(tokenizer, published("deepseek-ai-DeepSeek-V3.1")),
  "kimi-k2": await loadWith(tokenizer, published("Kimi-K2-Instruct")),
  "glm-4.7": await loadWith(tokenizer, published("GLM-4.7-Flash")),
  "deepseek-v3.2": await loadWith(tokenizer, published("deepseek-ai-DeepSeek-V3.2")),
  "deepseek-v4": await loadWith(tokenizer, published("deepseek-ai-DeepSeek-V4")),
};

/** What ends a value in formats of pairs cannot stand in one. */
const markers = [
  ...callMarkers,
  "<｜tool▁call▁end｜>",
  "<｜User｜>",
  "<think>",
  "<｜tool▁sep｜>",
].filter((marker) => !["</arg_value>", "<arg_value>", "</arg_key>", "｜DSML｜"].includes(marker));
const letters = fc.constantFrom(..."a|the |{|}|\"|\\|中|\n|👍|```|<|'|é|  |0".split("|"));
const text = fc
  .array(fc.oneof({ weight: 4, arbitrary: letters }, fc.constantFrom(...markers)), { maxLength: 8 })
  .map((units) => `.${units.join("")}.`);
/** An answer's own words mention no marker that its format could take for a call. */
const words = fc.array(letters, { maxLength: 8 }).map((units) => `.${units.join("")}.`);
const plain = { noNullPrototype: true } as const;
const value = fc.oneof(text, fc.maxSafeInteger(), fc.boolean(), fc.constant(null), fc.array(text));
const call: fc.Arbitrary<Call> = fc.record(
  {
    name: fc.constantFrom("sky", "get_sea", "mcp.a-b"),
    arguments: fc.dictionary(fc.constantFrom("a", "b", "1"), value, plain),
  },
  plain,
);
const turn = fc.record({
  question: text,
  thoughts: fc.option(words),
  answer: words,
  calls: fc.uniqueArray(call, { maxLength: 3, selector: ({ name }) => name }),
  results: fc.array(text, { minLength: 3, maxLength: 3 }),
  cuts: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
});
type Turn = typeof turn extends fc.Arbitrary<infer Generated> ? Generated : never;

/** The turn's messages as a client would send them back, from what the model said. */
function told(format: ToolCallFormat, turned: Turn, callsBefore: number): ChatMessage[] {
  const { question, thoughts, answer, calls, results } = turned;
  const said = `${thoughts === null ? "" : `${thoughts}</think>`}${answer}${
    calls.length > 0 ? written[format](calls) : ""
  }`;
  const understood = read(tokenizer, cut(tokenizer, said, turned.cuts), {
    ...{ startsInReasoning: thoughts !== null, toolCalls: format, callsBefore },
    tools: toolsOf(calls),
  });
  assert.equal(understood.reasoning, thoughts ?? "");
  assert.equal(understood.content, answer);
  assert.deepEqual(
    understood.calls.map(({ name, arguments: given }) => [name, JSON.parse(given)]),
    calls.map(({ name, arguments: given }) => [name, given]),
  );
  const withIds = understood.calls.map(({ id, ...called }, index) => ({
    id: id ?? `call-${callsBefore + index}`,
    function: called,
  }));
  return [
    { role: "user", content: question },
    { role: "assistant", content: understood.content, tool_calls: withIds },
    ...withIds.map(({ id }, index) => ({
      role: "tool",
      tool_call_id: id,
      content: results[index],
    })),
  ];
}

/** Everything of the turn that the prompt has to hold. */
const kept = ({ question, answer, calls, results }: Turn): string[] => [
  ...[question, answer, ...results.slice(0, calls.length)],
  ...calls.map(({ name }) => name),
];

/** A call's texts, as they are or in JSON. */
const textsOf = ({ calls }: Turn) =>
  calls.flatMap((each) =>
    Object.values(each.arguments).filter((given) => typeof given === "string"),
  );

test("no word of a conversation is lost on its way to the client and back", () => {
  for (const format of Object.keys(templates) as ToolCallFormat[]) {
    fc.assert(
      fc.property(fc.array(turn, { minLength: 1, maxLength: 3 }), (turns) => {
        const messages: ChatMessage[] = [];
        let calls = 0;
        for (const turned of turns) {
          messages.push(...told(format, turned, calls));
          calls += turned.calls.length;
          // The template's own words are no one's here.
          if (turned.calls.length > 0) messages.push({ role: "assistant", content: "Done." });
        }
        messages.push({ role: "user", content: "Next" });
        const prompt = textOf(templates[format], messages);
        for (const turned of turns) {
          for (const word of kept(turned)) assert.ok(prompt.includes(word), word);
          for (const word of textsOf(turned)) {
            const inJson = JSON.stringify(word).slice(1, -1);
            assert.ok(prompt.includes(word) || prompt.includes(inJson), word);
          }
        }
      }),
      { numRuns: CONVERSATIONS },
    );
  }
});
