import assert from "node:assert/strict";
import { test } from "node:test";
import { type HistoryStyle, normaliseHistory } from "./chat-history.ts";
import { type ChatMessage, ChatTemplateError } from "./chat-message.ts";
import { toolCallFormats } from "./tool-call-formats.ts";

const style: HistoryStyle = { partSeparator: "\n", callId: undefined };
const kimi = { ...style, callId: toolCallFormats["kimi-k2"].callId };

const calling = (...calls: readonly (readonly [id: string | null, name: string])[]) => ({
  role: "assistant",
  tool_calls: calls.map(([id, name]) => ({ id, function: { name, arguments: "{}" } })),
});
const result = (tool_call_id: string | null, content: string) => ({
  role: "tool",
  tool_call_id,
  content,
});
const results = (messages: readonly ChatMessage[], wanted = style) =>
  normaliseHistory(messages, wanted).flatMap(({ role, callId, content }) =>
    role === "tool" ? [`${callId}=${content}`] : [],
  );

test("results follow their calls' order, turn by turn, whatever order they came in", () => {
  const first = calling(["a", "f"], ["b", "g"]);
  const messages = [
    first,
    result("b", "2"),
    result("a", "1"),
    calling(["c", "f"]),
    result("c", "3"),
  ];
  assert.deepEqual(results(messages), ["a=1", "b=2", "c=3"]);
  assert.deepEqual(results([first, result(null, "1"), result(null, "2")]), ["a=1", "b=2"]);
  assert.deepEqual(results([first, result("x", "1"), result("a", "2")]), ["x=1", "a=2"]);
  assert.deepEqual(results([{ role: "user", content: "a" }, result("x", "1")]), ["x=1"]);
});

test("a model that numbers calls finds every call of the conversation numbered, and its result", () => {
  const messages = [
    calling(["call_x", "f"], ["call_y", "g"]),
    ...[result("call_y", "2"), result("call_x", "1")],
    calling([null, "f"]),
    result(null, "3"),
  ];
  const ids = normaliseHistory(messages, kimi).flatMap(({ calls }) => calls.map(({ id }) => id));
  assert.deepEqual(ids, ["functions.f:0", "functions.g:1", "functions.f:2"]);
  assert.deepEqual(results(messages, kimi), [
    "functions.f:0=1",
    "functions.g:1=2",
    "functions.f:2=3",
  ]);
});

test("arguments are an object's JSON as it was written, or {}", () => {
  const text = ' {"id": 1234567890123456789, "b":1.0, "2":[]} ';
  const cases: [given: unknown, text: string][] = [
    [text, text],
    [{ b: [1, "é"] }, '{"b": [1, "é"]}'],
    ...["", "null", '{"id": 12', "[1]", '"text"', null, undefined, 7].map(
      (given): [unknown, string] => [given, "{}"],
    ),
  ];
  for (const [given, expected] of cases) {
    const call = { function: { name: "f", arguments: given } };
    const [message] = normaliseHistory([{ role: "assistant", tool_calls: [call] }], style);
    assert.equal(message.calls[0].arguments, expected);
  }
  const nested = `{"a":${"[".repeat(200)}${"]".repeat(200)}}`;
  const deep = { role: "assistant", tool_calls: [{ function: { name: "f", arguments: nested } }] };
  assert.throws(() => normaliseHistory([deep], style), ChatTemplateError);
});
