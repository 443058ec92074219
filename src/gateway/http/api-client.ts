/** An OpenAI-compatible server as the commands that talk to one see it. */
export interface Server {
  /** Up to the path's `/v1`. */
  readonly url: string;
  readonly apiKey?: string;
}

/** What a server answers that is no success. */
export class ServerRefusal extends Error {
  override readonly name = "ServerRefusal";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Failure {
  readonly error?: { readonly message?: string };
}

/**
 * Posts a body, or asks without one.
 * @throws ServerRefusal with what the server says, Error with what the network does, and the signal's
 * reason once it is aborted
 */
export async function askServer(
  { url, apiKey }: Server,
  path: string,
  body?: object,
  signal?: AbortSignal,
): Promise<Response> {
  const response = await fetch(`${url}${path}`, {
    signal: signal ?? null,
    method: body === undefined ? "GET" : "POST",
    headers: {
      "content-type": "application/json",
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch(({ message, cause }: Error) => {
    signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : message;
    throw new Error(`${url} does not answer: ${reason}`);
  });
  if (response.ok) return response;
  const text = await response.text();
  const { status } = response;
  const message = `${url} answers ${status}: ${messageOf(text) ?? text.slice(0, 200)}`.trim();
  throw new ServerRefusal(status, message);
}

/** The names under which a server serves models, one at least. */
export async function modelNames(server: Server): Promise<readonly string[]> {
  const response = await askServer(server, "/v1/models");
  const { data = [] } = (await response.json()) as { data?: readonly { readonly id: string }[] };
  if (data.length === 0) throw new Error(`${server.url} serves no model`);
  return data.map(({ id }) => id);
}

export async function firstModel(server: Server): Promise<string> {
  return (await modelNames(server))[0];
}

/** What commands read of a chat answer's chunk; servers leave out what they do not have. */
export interface ChatChunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly reasoning?: string | null;
    };
    /** Of an answer's last chunk, and no other. */
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
}

/**
 * The JSON of server-sent events, up to the one that ends the stream.
 * @throws Error with what an event that is an error says
 */
export async function* serverEvents<Event extends object>(
  response: Response,
): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    const lines = (text + decoder.decode(bytes as Uint8Array, { stream: true })).split(/\r?\n/);
    text = lines.pop() ?? "";
    for (const line of lines) {
      const data = /^data: ?(.*)$/.exec(line)?.[1];
      if (data === undefined || data === "[DONE]") continue;
      const event = JSON.parse(data) as Event;
      const { error } = event as Failure;
      if (error) throw new Error(error.message ?? data);
      yield event;
    }
  }
}

/**
 * The chunks of a chat's answer of one choice.
 * @throws Error with what the server says, or when the answer has not come to its end
 */
export async function* chatChunks(response: Response): AsyncGenerator<ChatChunk> {
  let hasEnded = false;
  try {
    for await (const chunk of serverEvents<ChatChunk>(response)) {
      hasEnded ||= Boolean(chunk.choices?.some((choice) => choice.finish_reason));
      yield chunk;
    }
  } catch (error) {
    // What fetch throws where a connection breaks.
    if (!(error instanceof TypeError)) throw error;
    hasEnded = false;
  }
  if (!hasEnded) throw new Error("the connection was lost before the answer's end");
}

function messageOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as Failure).error?.message;
  } catch {
    return undefined;
  }
}
