import { askServer, chatChunks, type ChatChunk, type Server } from "../../gateway/index.ts";
import type { LoadRequest } from "./load-requests.ts";

export interface Answer {
  readonly promptTokens: number;
  /** As the server counts them; where it does not, the chunks that said something. */
  readonly completionTokens: number;
  /** Milliseconds from the request to the first and to the last of them. */
  readonly firstMs: number;
  readonly lastMs: number;
}

/** @throws Error with what the server or the network says */
export async function streamedAnswer(
  server: Server,
  { model, prompt, maxTokens, seed }: LoadRequest & { readonly model: string },
): Promise<Answer> {
  const began = performance.now();
  const response = await askServer(server, "/v1/chat/completions", {
    model,
    messages: [{ role: "user", content: prompt }],
    ...{ max_tokens: maxTokens, seed },
    stream: true,
    stream_options: { include_usage: true },
  });
  let firstMs: number | undefined;
  let lastMs = 0;
  let said = 0;
  let usage: ChatChunk["usage"];
  for await (const chunk of chatChunks(response)) {
    usage = chunk.usage ?? usage;
    const delta = chunk.choices?.[0]?.delta;
    if (!(delta?.content || delta?.reasoning_content || delta?.reasoning)) continue;
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
