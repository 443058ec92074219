import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { OutputParser, type OutputOptions } from "./output-parser.ts";
import {
  type Call,
  callMarkers,
  cut,
  formats,
  gather,
  read,
  toolsOf,
  written,
} from "./tool-call-fixtures.ts";
import { ToolCallReader } from "./tool-call-reader.ts";
import { writeTinyTokenizer } from "./tokenizer-fixtures.ts";
import { Tokenizer } from "./tokenizer.ts";

const directory = await mkdtemp(join(tmpdir(), "daysix-output-"));
after(() => rm(directory, { recursive: true }));
await writeTinyTokenizer(directory, callMarkers);
const tokenizer = await Tokenizer.load(directory);
/** Has none of the markers that are not DeepSeek-V3's: they are spelled. */
await writeTinyTokenizer(directory);
const bare = await Tokenizer.load(directory);

const B = "<｜tool▁calls▁begin｜>";
const E = "<｜tool▁calls▁end｜>";
const CB = "<｜tool▁call▁begin｜>";
const CE = "<｜tool▁call▁end｜>";
const SEP = "<｜tool▁sep｜>";

const say = (text: string, options: Partial<OutputOptions> = {}) =>
  read(tokenizer, [text], options);
const thinking = { startsInReasoning: true };
const v3 = { toolCalls: "deepseek-v3" } as const;
const v31 = { toolCalls: "deepseek-v3.1" } as const;

test("a tag that begins or ends no thoughts is text", () => {
  assert.deepEqual(say("done</think>Close it with </think> when done.", thinking), {
    reasoning: "done",
    content: "Close it with </think> when done.",
    calls: [],
  });
  assert.equal(say("a <think> b <｜User｜>").content, "a <think> b <｜User｜>");
  assert.equal(say("<think>off", { mayThink: false }).content, "<think>off");
  assert.deepEqual(say("<think>on</think>off"), { reasoning: "on", content: "off", calls: [] });
});

test("white space next to the tags of thoughts is not told, any other is", () => {
  assert.deepEqual(say("\nhm \n\n so\n</think>\n\n85\n", thinking), {
    reasoning: "hm \n\n so",
    content: "85\n",
    calls: [],
  });
  assert.equal(say("hm\n", thinking).reasoning, "hm\n");
  assert.equal(say("\n 85").content, "\n 85");
  assert.equal(say(" \n").content, " \n");
});

test("markers in the words of arguments are words", () => {
  const given = `{"path":"a.py","text":"OPEN='<think>'; CLOSE='</think>'; X='${CE}${B}<tool_call>'"}`;
  const said = say(`${B}${CB}write${SEP}${given}${CE}${E}`, v31);
  assert.deepEqual(said.calls, [{ name: "write", arguments: given }]);
  const value = "<arg_value> <tool_call> </tool_call> <think>";
  const [call] = say(
    `<tool_call>write<arg_key>text</arg_key><arg_value>${value}</arg_value></tool_call>`,
    { toolCalls: "glm-4.7" },
  ).calls;
  assert.deepEqual(JSON.parse(call.arguments), { text: value });
});

test("a call's name, fence and empty arguments settle before it is told", () => {
  const cases: [string, Partial<OutputOptions>, string, string][] = [
    [`${CB}function${SEP}\nf\n\`\`\`json\n{"a": 1}\n\`\`\`${CE}`, v3, "f", '{"a": 1}'],
    [`${CB}function${SEP}f\n{"a": 1}${CE}`, v3, "f", '{"a": 1}'],
    [`${CB} f ${SEP}\n\`\`\`json\n{"a": "\`\`\`"}\n\`\`\`\n${CE}`, v31, "f", '{"a": "```"}'],
    [`${CB}function${SEP}f\n\`\`\` json\n{"a": 1}\`\`\`${CE}`, v3, "f", '{"a": 1}'],
    [`${CB}now${SEP}${CE}`, v31, "now", "{}"],
    [`${CB}now${SEP}\`\`\`json\n\`\`\`${CE}`, v31, "now", "{}"],
    [`${CB}function${SEP}now\n\`\`\`json\n\n\`\`\`${CE}`, v3, "now", "{}"],
    [`${CB}now${SEP} null ${CE}`, v31, "now", "{}"],
    [`${CB}now${CE}`, v31, "now", "{}"],
    [`${CB}function${SEP}{}${CE}`, v31, "function", "{}"],
    [`${CB}f${SEP}{"a": 1`, v31, "f", '{"a": 1'],
  ];
  for (const [text, options, name, given] of cases) {
    for (const whole of [`${B}${text}${E}`, text]) {
      assert.deepEqual(say(whole, options).calls, [{ name, arguments: given }], text);
    }
  }
});

test("a call that cannot be understood comes back as text, and the next is told", () => {
  const nameless = `${CB}${SEP}{"a":1}${CE}`;
  assert.deepEqual(say(`${B}${nameless}${E}`, v31), {
    reasoning: "",
    content: `${B}${nameless}${E}`,
    calls: [],
  });
  const said = say(`${B}${CB}f${SEP}{"a":1}${CE}${nameless}${CB}g${SEP}{}${CE}${E}!`, v31);
  assert.equal(said.content, `${nameless}!`);
  assert.deepEqual(
    said.calls.map(({ name }) => name),
    ["f", "g"],
  );
  for (const text of [
    B,
    `${B}${E}`,
    `${B}${CB}f`,
    `${B}${CB}get the ${SEP}{}`,
    `${CB}${"a ".repeat(400)}`,
  ]) {
    assert.equal(say(text, v31).content, text);
  }
  const unclosed = "<tool_call>f<arg_key>a</arg_key><arg_value>1";
  assert.equal(say(unclosed, { toolCalls: "glm-4.7" }).content, unclosed);
  const mentioned = say("It is <tool_call> then\n</think>85", {
    ...thinking,
    toolCalls: "glm-4.7",
  });
  assert.deepEqual(mentioned, { reasoning: "It is <tool_call> then", content: "85", calls: [] });
});

test("text behind a call's arguments is text, whatever it holds, and the call's end is not", () => {
  const said = say(`${B}${CB}f${SEP}{"a":1} and {x}${CE}\n${CB}g${SEP}{}${CE}${E}!`, v31);
  assert.equal(said.content, " and {x}!");
  assert.deepEqual(
    said.calls.map(({ arguments: given }) => given),
    ['{"a":1}', "{}"],
  );
});

test("words about calls are not held back for long", () => {
  const options = { startsInReasoning: false, toolCalls: "glm-4.7" } as const;
  const parser = new OutputParser(tokenizer, options);
  const tokens = tokenizer.encode(`<tool_call>${"a".repeat(300)}`, { specials: true });
  const told = tokens.flatMap((token) => parser.push(token));
  assert.equal(gather(told).content.slice(0, 12), "<tool_call>a");
});

test("Kimi's own ids are told, numbered on through the conversation", () => {
  const calls = [
    { name: "f", arguments: {} },
    { name: "g", arguments: {} },
  ];
  const said = say(written["kimi-k2"](calls), { toolCalls: "kimi-k2", callsBefore: 3 });
  assert.deepEqual(
    said.calls.map(({ id }) => id),
    ["functions.f:3", "functions.g:4"],
  );
});

test("GLM's values are texts where the schema says so, and keep every digit", () => {
  const text =
    "<tool_call>f<arg_key>id</arg_key><arg_value>7</arg_value>\n" +
    "<arg_key>n</arg_key><arg_value>1234567890123456789</arg_value></tool_call>";
  const toolCalls = "glm-4.7";
  assert.equal(say(text, { toolCalls }).calls[0].arguments, '{"id":7,"n":1234567890123456789}');
  const tools = toolsOf([{ name: "f", arguments: { id: "" } }]);
  const [call] = say(text, { toolCalls, tools }).calls;
  assert.equal(call.arguments, '{"id":"7","n":1234567890123456789}');
});

const words = fc.string({
  unit: fc.constantFrom("a", "the ", "{", '"', "中", "\n", "👍", "`", "<"),
});
const spoken = words.map((text) => `.${text}.`);
const plain = { noNullPrototype: true } as const;
const value = fc.oneof(
  ...[words, fc.integer(), fc.boolean(), fc.constant(null), fc.array(words, { maxLength: 2 })],
);
const call: fc.Arbitrary<Call> = fc.record(
  {
    name: fc.constantFrom("sky", "get_sea", "mcp.a-b"),
    arguments: fc.dictionary(fc.constantFrom("a", "b", "c"), value, plain),
  },
  plain,
);
const calls = fc.uniqueArray(call, { maxLength: 3, selector: ({ name }) => name });
const places = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });

test("thoughts, answer and calls are told as they were, in every format and however they are cut", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...formats),
      fc.option(spoken),
      spoken,
      calls,
      places,
      fc.boolean(),
      (toolCalls, reasoning, content, called, at, spelled) => {
        const thoughts = reasoning === null ? "" : `${reasoning}</think>`;
        const text = thoughts + content + (called.length > 0 ? written[toolCalls](called) : "");
        const said = read(spelled ? bare : tokenizer, cut(tokenizer, text, at), {
          ...{ startsInReasoning: reasoning !== null, toolCalls },
          tools: toolsOf(called),
        });
        assert.equal(said.reasoning, reasoning ?? "");
        assert.equal(said.content, content);
        assert.deepEqual(
          said.calls.map(({ name, arguments: given }) => ({
            name,
            arguments: JSON.parse(given) as unknown,
          })),
          called,
        );
      },
    ),
    { numRuns: 400 },
  );
});

test("one piece may hold several calls, their markers spelled", () => {
  const called = [
    { name: "f", arguments: { a: "}" } },
    { name: "g", arguments: {} },
  ];
  for (const format of formats) {
    const reader = new ToolCallReader(bare, format, { tools: [], callsBefore: 0 });
    const pieces = bare.split(`ok${written[format](called)}`);
    const said = [
      ...pieces.flatMap(({ text }) =>
        bare.specialId(text) === undefined ? reader.read(text) : reader.readToken(text),
      ),
      ...reader.end(),
    ];
    const names = said.flatMap((each) => (each.kind === "tool-call" ? [each.name] : []));
    assert.deepEqual(names, ["f", "g"], format);
    const text = said.map((each) => (each.kind === "text" ? each.text : "")).join("");
    assert.equal(text.trim(), "ok", format);
  }
});

test("whatever is said in whatever order, no word is lost and pieces say what the whole says", () => {
  const markers = [...callMarkers, B, E, CB, CE, SEP, "<think>", "</think>"];
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(...markers, ...formats.map((format) => written[format]([]))),
      fc.constantFrom("{", "}", '{"k":"', '"}', "{}", "```json\n", "\n```", "function", " ", '">'),
      fc.integer({ min: 100, max: 999 }).map((number) => `w${number}`),
    ),
    { maxLength: 14 },
  );
  // A word behind a fence that is no language is the model's.
  const fenced = (fence: string): [(typeof formats)[number], string[], number[], boolean] => {
    const fencedWord = ["<｜tool▁call▁begin｜>", "w100", fence, "w101", "<｜tool▁call▁end｜>"];
    return ["deepseek-v3", fencedWord, [1], false];
  };
  fc.assert(
    fc.property(
      ...([fc.constantFrom(...formats), pieces, places, fc.boolean()] as const),
      (toolCalls, said, at, startsInReasoning) => {
        const text = said.join("");
        const options = { toolCalls, startsInReasoning };
        const whole = say(text, options);
        assert.deepEqual(read(tokenizer, cut(tokenizer, text, at), options), whole);
        const told = JSON.stringify(whole);
        const lost = said.filter((piece) => piece.startsWith("w") && !told.includes(piece));
        assert.deepEqual(lost, []);
      },
    ),
    { numRuns: 1000, examples: [fenced("\n```"), fenced("\n```json"), fenced("\n``` ")] },
  );
});
