import {
  askServer,
  modelNames,
  chatChunks,
  type ChatChunk,
  type Server,
} from "../../gateway/index.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What a person may change between two turns. */
export interface ChatSettings {
  model: string;
  system: string | undefined;
  thinking: boolean;
  readonly temperature: number | undefined;
  readonly seed: number | undefined;
}

export interface Piece {
  readonly kind: "thought" | "content";
  readonly text: string;
}

/** What an answer took; tokens are the server's count. */
export interface Spent {
  readonly tokens: number;
  /** Undefined for an answer of one token. */
  readonly tokensPerSecond: number | undefined;
  readonly firstSeconds: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** A conversation with a server's model: whole turns only, so that a failed one is not sent again. */
export class Conversation {
  readonly settings: ChatSettings;
  readonly #server: Server;
  readonly #now: () => number;
  #turns: Message[] = [];

  /** `now`: milliseconds. */
  constructor(server: Server, settings: ChatSettings, now: () => number) {
    this.settings = settings;
    this.#server = server;
    this.#now = now;
  }

  get url(): string {
    return this.#server.url;
  }

  get messages(): readonly Message[] {
    const { system } = this.settings;
    return system === undefined
      ? this.#turns
      : [{ role: "system", content: system }, ...this.#turns];
  }

  clear(): void {
    this.#turns = [];
  }

  modelNames(): Promise<readonly string[]> {
    return modelNames(this.#server);
  }

  /**
   * Tells the answer's pieces as they come, and at last what it took, where the server says so. An
   * answer that was stopped stays in the conversation as far as it came.
   * @throws Error with what went wrong, or the signal's reason
   */
  async *ask(text: string, signal?: AbortSignal): AsyncGenerator<Piece, Spent | undefined> {
    const { model, thinking, temperature, seed } = this.settings;
    const question: Message = { role: "user", content: text };
    let content = "";
    const began = this.#now();
    let first: number | undefined;
    let usage: ChatChunk["usage"];
    try {
      const response = await askServer(
        this.#server,
        "/v1/chat/completions",
        {
          ...{ model, messages: [...this.messages, question], temperature, seed, stream: true },
          stream_options: { include_usage: true },
          chat_template_kwargs: { thinking },
        },
        signal,
      );
      for await (const chunk of chatChunks(response)) {
        usage = chunk.usage ?? usage;
        const delta = chunk.choices?.[0]?.delta;
        const thought = delta?.reasoning_content ?? delta?.reasoning ?? "";
        const said = delta?.content ?? "";
        if (thought || said) first ??= this.#now();
        content += said;
        if (thought) yield { kind: "thought", text: thought };
        if (said) yield { kind: "content", text: said };
      }
    } catch (error) {
      if (signal?.aborted && content) this.#keep(question, content);
      throw error;
    }
    this.#keep(question, content);
    return usage ? spent(usage, began, first ?? this.#now(), this.#now()) : undefined;
  }

  #keep(question: Message, content: string): void {
    this.#turns.push(question, { role: "assistant", content });
  }
}

function spent(usage: NonNullable<ChatChunk["usage"]>, began: number, first: number, end: number) {
  const tokens = usage.completion_tokens;
  const seconds = (end - first) / 1000;
  return {
    tokens,
    tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : undefined,
    firstSeconds: (first - began) / 1000,
    promptTokens: usage.prompt_tokens,
    cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

/** As `12 tokens, 85.2 tokens/s, first after 0.05 s; 64 of 80 prompt tokens from the cache`. */
export function describeSpent({
  tokens,
  tokensPerSecond,
  firstSeconds,
  promptTokens,
  cachedTokens,
}: Spent): string {
  const speed = tokensPerSecond === undefined ? "" : `, ${tokensPerSecond.toFixed(1)} tokens/s`;
  return (
    `${tokens} token${tokens === 1 ? "" : "s"}${speed}, first after ${firstSeconds.toFixed(2)} s; ` +
    `${cachedTokens} of ${promptTokens} prompt tokens from the cache`
  );
}
