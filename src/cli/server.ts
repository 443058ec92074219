import type { Server } from "../gateway/index.ts";
import { apiKeyOf } from "./api-key.ts";
import { textOf } from "./arguments.ts";

/** The server that a command talks to: `--url`, with or without `/v1`, and a key as `serve` takes it. */
export async function serverOf(flags: Readonly<Record<string, unknown>>): Promise<Server> {
  const apiKey = await apiKeyOf(flags, process);
  return {
    url: textOf("url", flags["url"]).replace(/\/(v1\/?)?$/, ""),
    ...(apiKey === undefined ? {} : { apiKey }),
  };
}
