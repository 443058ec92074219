export interface Server {
  /** Up to the path's `/v1`. */
  readonly url: string;
  readonly apiKey?: string;
}

export interface Answer {
  readonly promptTokens: number;
  /** As the server counts them; where it does not, the chunks that said something. */
  readonly completionTokens: number;
  /** Milliseconds from the request to the first and to the last of them. */
  readonly firstMs: number;
  readonly lastMs: number;
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
    };
  }[];
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error?: { readonly message: string };
}

/** @throws Error with what the server or the network says */
export async function streamedAnswer(
  server: Server,
  request: { readonly model: string; readonly prompt: string; readonly maxTokens: number },
): Promise<Answer> {
  const began = performance.now();
  const response = await ask(server, "/v1/chat/completions", {
    model: request.model,
    messages: [{ role: "user", content: request.prompt }],
    max_tokens: request.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
  });
  let firstMs: number | undefined;
  let lastMs = 0;
  let said = 0;
  let usage: Chunk["usage"];
  for await (const chunk of chunks(response)) {
    if (chunk.error) throw new Error(chunk.error.message);
    usage = chunk.usage ?? usage;
    const delta = chunk.choices?.[0]?.delta;
    if (!delta?.content && !delta?.reasoning_content) continue;
    lastMs = performance.now() - began;
    firstMs ??= lastMs;
    said++;
  }
  if (firstMs === undefined) throw new Error("the answer is empty");
  return {
    promptTokens: usage?.prompt_tokens ?? 0,
    completionTokens: usage?.completion_tokens ?? said,
    firstMs,
    lastMs,
  };
}

/** The name under which a server serves its first model. */
export async function firstModel(server: Server): Promise<string> {
  const response = await ask(server, "/v1/models");
  const { data } = (await response.json()) as { data?: readonly { readonly id: string }[] };
  if (!data?.[0]) throw new Error(`${server.url} serves no model`);
  return data[0].id;
}

async function ask({ url, apiKey }: Server, path: string, body?: object): Promise<Response> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (response.ok) return response;
  const text = await response.text();
  throw new Error(`${response.status} ${messageOf(text) ?? text.slice(0, 200)}`.trim());
}

function messageOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as Chunk).error?.message;
  } catch {
    return undefined;
  }
}

/** Server-sent events with JSON in them, up to the one that ends the stream. */
async function* chunks(response: Response): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    const lines = (text + decoder.decode(bytes as Uint8Array, { stream: true })).split(/\r?\n/);
    text = lines.pop() ?? "";
    for (const line of lines) {
      const data = /^data: ?(.*)$/.exec(line)?.[1];
      if (data === undefined || data === "[DONE]") continue;
      yield JSON.parse(data) as Chunk;
    }
  }
}
