/** The server refused a request; the message is its own. */
export class ServerError extends Error {
  override readonly name = "ServerError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Asks the server that the page came from. @throws ServerError when it refuses. */
export async function ask(path: string, key: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key !== "") headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(path, { ...init, headers, cache: "no-store" });
  if (!response.ok) throw new ServerError(response.status, await reasonOf(response));
  return response;
}

/** Parsed `data` of a response's server-sent events, until `[DONE]` or the stream's end. */
export async function* events<Event>(response: Response): AsyncGenerator<Event> {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (text + value).split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        if (!block.startsWith("data: ")) continue;
        const data = block.slice("data: ".length);
        if (data === "[DONE]") return;
        yield JSON.parse(data) as Event;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string } };
    return error?.message ?? text;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}
