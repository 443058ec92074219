import { type Server, ServerRefusal } from "../gateway/index.ts";
import { apiKeyOf } from "./api-key.ts";
import { textOf, UsageError } from "./arguments.ts";

/** The server that a command talks to: `--url`, with or without `/v1`, and a key as `serve` takes it. */
export async function serverOf(flags: Readonly<Record<string, unknown>>): Promise<Server> {
  const apiKey = await apiKeyOf(flags, process);
  const url = textOf("url", flags["url"]);
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw new UsageError(`--url: expected http://HOST:PORT, got ${url}`);
  }
  return {
    url: url.replace(/\/(v1\/?)?$/, ""),
    ...(apiKey === undefined ? {} : { apiKey }),
  };
}

/** Of a server that was asked: whoever refuses has the right URL. */
export function urlProblem(error: Error): UsageError {
  return new UsageError(error instanceof ServerRefusal ? error.message : `--url: ${error.message}`);
}
