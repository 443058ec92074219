import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";
import { responseAnswer } from "../dialects/responses-wire.ts";
import * as wire from "../wire.ts";

/** What npm clients (openai, ai, @ai-sdk/deepseek, LangChain) were seen to send. */
interface CapturedRequest {
  readonly label: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {
    readonly stream?: boolean;
    readonly stream_options?: { readonly include_usage?: boolean };
  } | null;
}

const file = new URL("../../../../shared/data/client-requests/requests.json", import.meta.url);
const skip = existsSync(file) ? false : `${file.pathname} is not here`;
const requests: CapturedRequest[] = skip ? [] : JSON.parse(readFileSync(file, "utf8"));

let server: TinyServer;
before(async () => (server = await startTinyServer()));
after(() => server.close());

test("there are requests to try", { skip }, () => assert.equal(requests.length, 31));

for (const [index, request] of requests.entries()) {
  test(`client request ${index}, ${request.label}, is answered`, async () => {
    const response = await send(request);
    assert.equal(response.status, 200);
    if (request.body?.stream) assertStream(request, await response.text());
    else schemaOf(request).parse(await response.json());
  });
}

function send({ method, path, headers, body }: CapturedRequest): Promise<Response> {
  const own = Object.entries(headers).filter(([, value]) => value !== "<redacted>");
  return fetch(server.url + path, {
    method,
    headers: { ...Object.fromEntries(own), authorization: "Bearer any" },
    body: body && JSON.stringify(body),
  });
}

function schemaOf({ path }: CapturedRequest) {
  if (path === "/v1/models") return wire.modelList;
  if (path === "/v1/responses") return responseAnswer;
  return path === "/v1/completions" ? wire.completion : wire.chatCompletion;
}

function assertStream({ path, body }: CapturedRequest, text: string): void {
  const lines = text.split("\n\n");
  assert.equal(lines.pop(), "");
  assert.equal(lines.pop(), "data: [DONE]");
  const schema = path === "/v1/completions" ? wire.completion : wire.chatCompletionChunk;
  const chunks = lines
    .filter((line) => !line.startsWith(":"))
    .map((line) => schema.parse(JSON.parse(line.replace(/^data: /, ""))));
  const finishes = chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason));
  assert.equal(finishes.filter((reason) => reason !== null).length, 1);
  const billed = chunks.filter(({ usage }) => usage);
  assert.equal(billed.length, body?.stream_options?.include_usage ? 1 : 0);
  if (billed.length > 0) assert.equal(billed[0], chunks.at(-1));
}
