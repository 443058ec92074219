import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

interface ChatBody {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly [field: string]: unknown;
}

/** A server that says what was asked, and whose answers fail, break or never end when they are asked to. */
export interface EchoServer {
  readonly url: string;
  /** What it was asked, in order. */
  readonly bodies: readonly ChatBody[];
  /** Resolves once a client has left an answer that never ends. */
  readonly left: Promise<void>;
  close(): void;
}

const event = (response: ServerResponse, body: object) =>
  response.write(`data: ${JSON.stringify(body)}\n\n`);

const delta = (response: ServerResponse, part: object) =>
  event(response, { choices: [{ delta: part }] });

export async function startEchoServer(): Promise<EchoServer> {
  const bodies: ChatBody[] = [];
  let leave = () => {};
  const left = new Promise<void>((resolve) => (leave = resolve));
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      response.end(JSON.stringify({ data: [{ id: "echo" }, { id: "other" }] }));
      return;
    }
    const body = (await json(request)) as ChatBody;
    bodies.push(body);
    const { content } = body.messages.at(-1)!;
    if (content === "fail") {
      response.writeHead(500).end(JSON.stringify({ error: { message: "no luck" } }));
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    delta(response, { reasoning_content: "hm" });
    delta(response, { content: `said ${JSON.stringify(content)}` });
    if (content === "forever") {
      response.on("close", leave);
      return;
    }
    if (content === "break") {
      response.write(": \n\n", () => response.destroy());
      return;
    }
    if (content === "end early") {
      response.end();
      return;
    }
    event(response, { choices: [{ delta: {}, finish_reason: "stop" }] });
    const usage = { prompt_tokens: 80, completion_tokens: 3 };
    event(response, { usage: { ...usage, prompt_tokens_details: { cached_tokens: 64 } } });
    response.end("data: [DONE]\n\n");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${port}`, bodies, left, close };
}
