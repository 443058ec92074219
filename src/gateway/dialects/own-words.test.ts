/** What clients and models have written comes back as they wrote it, and errors in a dialect's own names. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type ScriptedServer, startScriptedServer } from "../http/scripted-fixtures.ts";

let server: ScriptedServer;
before(async () => (server = await startScriptedServer()));
after(() => server.close());

async function post(path: string, json: string): Promise<string> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(server.url + path, { method: "POST", headers, body: json });
  return response.text();
}

const input = '{"id":1234567890123456789,"ratio":1.0,"note":"a \\"b\\" }","list":[{"z":1E2}]}';
const call = `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>${input}<｜tool▁call▁end｜><｜tool▁calls▁end｜>`;
const tools = '"tools":[{"name":"f","input_schema":{"type":"object"}}]';

test("Messages: a call's input keeps every digit, on its way out and back", async () => {
  server.say(call, "done");
  const ask = `{"model":"calf","max_tokens":500,${tools},"messages":[{"role":"user","content":"go"}`;
  const answer = await post("/v1/messages", `${ask}]}`);
  assert.ok(answer.includes(`"input":${input}`), answer);
  const { content } = JSON.parse(answer) as { content: { id: string }[] };
  const block = `{"type":"tool_use","id":"${content[0].id}","name":"f","input":${input}}`;
  const said = `{"role":"assistant","content":[{"type":"text","text":"{"},${block}]}`;
  const result = `{"type":"tool_result","tool_use_id":"${content[0].id}","content":"ok"}`;
  await post("/v1/messages", `${ask},${said},{"role":"user","content":[${result}]}]}`);
  assert.ok(server.prompts.at(-1)?.includes(input), server.prompts.at(-1));
});

test("errors name fields as the dialect has them", async () => {
  const schema = { type: "object", properties: { a: { uniqueItems: true } } };
  const said = [{ role: "user", content: "hi" }];
  const bad = [
    { role: "assistant", content: [{ type: "tool_use", id: "a", name: "f", input: 1 }] },
  ];
  const asked: [string, object, RegExp][] = [
    [
      "/v1/messages",
      { messages: said, max_tokens: 9, output_config: { format: { type: "json_schema", schema } } },
      /"message":"output_config\.format\.schema: #\/properties\/a\/uniqueItems/,
    ],
    [
      "/v1/messages",
      { messages: bad, max_tokens: 9 },
      /"message":"messages\[0\]\.content\[0\]\.input: /,
    ],
    [
      "/v1/responses",
      { input: "hi", text: { format: { type: "json_schema", name: "a", schema } } },
      /"message":"text\.format\.schema: #\/properties\/a\/uniqueItems.*"param":"text\.format\.schema"/,
    ],
    [
      "/v1/chat/completions",
      { messages: said, response_format: { type: "json_schema", json_schema: { schema } } },
      /"param":"response_format\.json_schema\.schema"/,
    ],
  ];
  for (const [path, body, message] of asked) {
    assert.match(await post(path, JSON.stringify({ model: "calf", ...body })), message);
  }
});
