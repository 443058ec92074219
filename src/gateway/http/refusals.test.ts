import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";
import { errorEnvelope } from "../wire.ts";

let server: TinyServer;
before(async () => (server = await startTinyServer()));
after(() => server.close());

const messages = [{ role: "user", content: "hi" }];
const chat = { model: "calf", messages, max_tokens: 2 };
const CHAT = "/v1/chat/completions";

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

async function assertRefused(response: Response, status: number, code: string, param?: string) {
  const { error } = errorEnvelope.parse(await response.json());
  assert.deepEqual([response.status, error.code], [status, code], error.message);
  if (param !== undefined) assert.equal(error.param, param);
  return error;
}

test("what is not served yet is refused by its field's name", async () => {
  const tools = [{ type: "function", function: { name: "f" } }];
  const cases: [path: string, body: object, param: string][] = [
    [CHAT, { ...chat, messages: [{ ...messages[0], audio: {} }] }, "messages[0].audio"],
    [CHAT, { ...chat, add_generation_prompt: false }, "add_generation_prompt"],
    [CHAT, { ...chat, functions: [{ name: "f" }] }, "functions"],
    [CHAT, { ...chat, modalities: ["text", "audio"] }, "modalities"],
    ["/v1/completions", { model: "calf", prompt: "a", echo: true, logprobs: 0 }, "echo"],
    ["/v1/completions", { model: "calf", prompt: "a", suffix: "b" }, "suffix"],
    ["/v1/completions", { model: "calf", prompt: "a", best_of: 2 }, "best_of"],
  ];
  for (const [path, body, param] of cases) {
    const error = await assertRefused(await post(path, body), 400, "unsupported_parameter", param);
    assert.ok(error.message.includes(param));
  }
  const plain = { ...chat, response_format: { type: "text" }, tools, tool_choice: "none" };
  assert.equal((await post(CHAT, plain)).status, 200);
});

test("unknown paths, wrong methods and wrong models are told apart", async () => {
  const paths = ["/v1/embeddings", "/embeddings", "/v1/files/file-1"];
  for (const path of paths) {
    const error = await assertRefused(await post(path, {}), 404, "unsupported_endpoint");
    assert.ok(error.message.includes(path));
  }
  await assertRefused(await fetch(`${server.url}/v2/chat`), 404, "unknown_url");
  const wrong = await fetch(server.url + CHAT);
  assert.equal(wrong.headers.get("allow"), "POST");
  await assertRefused(wrong, 405, "method_not_allowed");
  await assertRefused(await post("/v1/models", {}), 405, "method_not_allowed");
  await assertRefused(
    await post(CHAT, { ...chat, model: "gpt-5" }),
    404,
    "model_not_found",
    "model",
  );
});

test("bodies that are not the JSON expected are refused", async () => {
  await assertRefused(await post(CHAT, "{"), 400, "invalid_json");
  await assertRefused(await post(CHAT, { ...chat, messages: 5 }), 400, "invalid_value", "messages");
  const asText = await post(CHAT, chat, { "content-type": "text/plain" });
  await assertRefused(asText, 415, "unsupported_media_type");
  const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
  const nested = `{"model":"calf","messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"a":${deep}}}}]}`;
  const error = await assertRefused(await post(CHAT, nested), 400, "invalid_value");
  assert.match(error.message, /nested deeper than/);
});

test("a 10 MB body is refused by its size, declared or not", async () => {
  const size = 10 * 2 ** 20;
  const chunk = Buffer.alloc(2 ** 16, 0x20);
  for (const declared of [true, false]) {
    const { status, sent } = await new Promise<{ status: number; sent: number }>(
      (resolve, reject) => {
        const headers = {
          "content-type": "application/json",
          ...(declared ? { "content-length": size } : { "transfer-encoding": "chunked" }),
        };
        let written = 0;
        const request = httpRequest(server.url + CHAT, { method: "POST", headers });
        request.on("response", (response) => {
          resolve({ status: response.statusCode ?? 0, sent: written });
          response.resume();
          request.destroy();
        });
        request.on("error", reject);
        const write = () => {
          while (written < size) {
            written += chunk.length;
            if (!request.write(chunk)) {
              request.once("drain", write);
              return;
            }
          }
          request.end();
        };
        write();
      },
    );
    assert.equal(status, 413);
    assert.ok(sent <= size);
  }
});

test("a prompt that cannot fit the context is refused", async () => {
  const words = "word ".repeat(200_000);
  const cases: [path: string, body: object, param: string][] = [
    [CHAT, { ...chat, messages: [{ role: "user", content: words }] }, "messages"],
    [
      CHAT,
      { ...chat, messages: [{ role: "user", content: "a ".repeat(server.engine.maxModelLen) }] },
      "messages",
    ],
    ["/v1/completions", { model: "calf", prompt: words }, "prompt"],
    ["/v1/completions", { model: "calf", prompt: ["a", words] }, "prompt"],
    [
      "/v1/completions",
      { model: "calf", prompt: Array(server.engine.maxModelLen).fill(5) },
      "prompt",
    ],
    ["/tokenize", { prompt: words }, "prompt"],
  ];
  for (const [path, body, param] of cases) {
    await assertRefused(await post(path, body), 400, "context_length_exceeded", param);
  }
});

test("token ids must be tokens", async () => {
  for (const prompt of [[1, 10 ** 6], [], [[1], []]]) {
    const response = await post("/v1/completions", { model: "calf", prompt });
    await assertRefused(response, 400, "invalid_value", "prompt");
  }
  const biased = { ...chat, logit_bias: { 1000000: 1 } };
  await assertRefused(await post(CHAT, biased), 400, "invalid_value", "logit_bias");
  const stopped = { ...chat, stop_token_ids: [1, 10 ** 6] };
  await assertRefused(await post(CHAT, stopped), 400, "invalid_value", "stop_token_ids");
  const short = { ...chat, min_tokens: 3 };
  await assertRefused(await post(CHAT, short), 400, "invalid_value", "min_tokens");
  const whole = { ...chat, logit_bias: Object.fromEntries(Array(4097).fill(1).entries()) };
  const error = await assertRefused(await post(CHAT, whole), 400, "invalid_value", "logit_bias");
  assert.match(error.message, /4096/);
});

test("text that is no Unicode is answered all the same", async () => {
  const lone = '{"model":"calf","max_tokens":2,"messages":[{"role":"user","content":"a\\ud800b"}]}';
  assert.equal((await post(CHAT, lone)).status, 200);
});

test("a request's id is echoed without what does not belong, or made", async () => {
  const echoed = await fetch(`${server.url}/health`, { headers: { "x-request-id": "a-1 <b>" } });
  assert.equal(echoed.headers.get("x-request-id"), "a-1b");
  const made = await fetch(`${server.url}/v2`);
  assert.match(made.headers.get("x-request-id") ?? "", /^req-[0-9a-f]{24}$/);
});

test("OpenAPI describes what is served", async () => {
  const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
    paths: Record<string, object>;
    components: { schemas: Record<string, { properties: Record<string, unknown> }> };
  };
  assert.ok(document.paths["/v1/chat/completions"]);
  assert.ok(document.components.schemas.ChatCompletionRequest.properties.messages);
});
