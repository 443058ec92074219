/** What conversations of other dialects become inside. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { askedChatOf, chatOf as chatOfMessages } from "./messages-request.ts";
import { messagesRequest } from "./messages-wire.ts";
import {
  askedChatOf as askedChatOfResponse,
  chatOf as chatOfResponse,
} from "./responses-request.ts";
import { countInputRequest, responsesRequest } from "./responses-wire.ts";

const user = { role: "user", content: "hi" };
const ofMessages = (body: object) =>
  askedChatOf(messagesRequest.parse({ model: "calf", max_tokens: 9, messages: [user], ...body }));
const ofResponse = (body: object, earlier: Parameters<typeof chatOfResponse>[1] = []) =>
  chatOfResponse(countInputRequest.parse({ model: "calf", ...body }), earlier);

test("Messages: results come before what is said with them, and failed ones say so", () => {
  const result = (id: string, content: unknown, is_error = false) => ({
    ...{ type: "tool_result", tool_use_id: id, content, is_error },
  });
  const text = { type: "text", text: "go on" };
  const content = [
    text,
    result("a", "one"),
    result("b", [{ type: "text", text: "no such file" }], true),
    result("c", "ENOENT error", true),
    result("d", undefined, true),
  ];
  const words = (...texts: string[]) => texts.map((each) => ({ type: "text", text: each }));
  const tool = (id: string, ...texts: string[]) => ({
    ...{ role: "tool", tool_call_id: id, content: words(...texts) },
  });
  assert.deepEqual(ofMessages({ messages: [{ role: "user", content }] }).messages, [
    tool("a", "one"),
    tool("b", "Error: no such file"),
    tool("c", "Error: ENOENT error"),
    tool("d", "Error: "),
    { role: "user", content: words("go on") },
  ]);
});

test("Messages: an answer's blocks are one message, whose words are gone on with at the end", () => {
  const content = [
    { type: "thinking", thinking: "hm", signature: "s" },
    { type: "redacted_thinking", data: "x" },
    { type: "text", text: "One " },
    { type: "text", text: "moment." },
  ];
  const call = { type: "tool_use", id: "a", name: "f", input: { b: 1 } };
  const said = { role: "assistant", content: "One moment.", reasoning_content: "hm" };
  const goesOn = ofMessages({ messages: [user, { role: "assistant", content }] });
  assert.deepEqual(goesOn.messages.at(-1), said);
  assert.equal(goesOn.continue_final_message, true);
  const calls = ofMessages({
    messages: [user, { role: "assistant", content: [...content, call] }],
  });
  const tool_calls = [{ id: "a", function: { name: "f", arguments: '{"b":1}' } }];
  assert.deepEqual(calls.messages.at(-1), { ...said, tool_calls });
  assert.equal(calls.continue_final_message, false);
  assert.equal(ofMessages({}).continue_final_message, false);
});

test("Messages: what the answer should be like has the chat's names", () => {
  const { messages, tools, ...asked } = ofMessages({
    ...{ system: [{ type: "text", text: "be" }], stop_sequences: ["x"], top_k: 5, stream: true },
    ...{ thinking: { type: "adaptive" }, tools: [{ name: "f", input_schema: { type: "object" } }] },
    tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true },
  });
  assert.deepEqual(messages[0], { role: "system", content: [{ type: "text", text: "be" }] });
  assert.deepEqual(tools?.[0].function.parameters, { type: "object" });
  assert.deepEqual([asked.stop, asked.top_k, asked.max_tokens, asked.stream], [["x"], 5, 9, true]);
  assert.deepEqual(asked.thinking, { type: "enabled" });
  assert.deepEqual(asked.tool_choice, { type: "function", function: { name: "f" } });
  assert.equal(asked.parallel_tool_calls, false);
  assert.equal(chatOfMessages({ model: "calf", messages: [] }).thinking, undefined);
});

test("Responses: thoughts, words and calls of one answer are one message", () => {
  const input = [
    user,
    {
      type: "reasoning",
      id: "rs_1",
      summary: [],
      content: [{ type: "reasoning_text", text: "hm" }],
    },
    { role: "assistant", content: [{ type: "output_text", text: "One moment." }] },
    { type: "function_call", call_id: "a", name: "f", arguments: '{"b":1.0}' },
    { type: "function_call", call_id: "b", name: "f", arguments: "{}" },
    { type: "function_call_output", call_id: "b", output: "two" },
    { type: "function_call_output", call_id: "a", output: [{ type: "input_text", text: "one" }] },
    { type: "reasoning", summary: [{ type: "summary_text", text: "so" }] },
    { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
  ];
  const call = (id: string, written: string) => ({
    ...{ id, function: { name: "f", arguments: written } },
  });
  assert.deepEqual(ofResponse({ input }).messages, [
    user,
    {
      ...{ role: "assistant", content: "One moment.", reasoning_content: "hm" },
      tool_calls: [call("a", '{"b":1.0}'), call("b", "{}")],
    },
    { role: "tool", tool_call_id: "b", content: "two" },
    { role: "tool", tool_call_id: "a", content: [{ type: "text", text: "one" }] },
    { role: "assistant", content: null, reasoning_content: "so", tool_calls: [call("c", "{}")] },
  ]);
});

test("Responses: instructions come first, then what was said before, then the input", () => {
  const earlier = [{ role: "user" as const, content: "before" }];
  assert.deepEqual(ofResponse({ input: "hi", instructions: "be" }, earlier).messages, [
    { role: "system", content: "be" },
    { role: "user", content: "before" },
    user,
  ]);
});

test("what an answer must be is said as a chat says it", () => {
  const schema = { type: "object" };
  const { response_format } = ofMessages({
    output_config: { format: { type: "json_schema", schema } },
  });
  assert.deepEqual(response_format, {
    type: "json_schema",
    json_schema: { name: "answer", schema },
  });
  const format = { type: "json_schema", name: "sum", schema, strict: true };
  const asked = responsesRequest.parse({ model: "calf", input: "hi", text: { format } });
  assert.deepEqual(askedChatOfResponse(asked, []).response_format, {
    ...{ type: "json_schema", json_schema: { name: "sum", schema, strict: true } },
  });
});
