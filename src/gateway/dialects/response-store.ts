import { ApiError } from "../errors.ts";
import type { ChatRequest } from "../wire.ts";

type Messages = ChatRequest["messages"];

interface Conversation {
  /** Whose it is: nobody else can go on with it. */
  readonly tenant: string;
  readonly messages: Messages;
  readonly characters: number;
}

/** Conversations that may be gone on with by an answer's id; the oldest are forgotten. */
export class ResponseStore {
  readonly #limit: number;
  readonly #conversations = new Map<string, Conversation>();
  #characters = 0;

  /** `limit`: characters of all conversations. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** One that alone is beyond the limit is not kept. */
  keep(id: string, tenant: string, messages: Messages): void {
    const characters = JSON.stringify(messages).length;
    if (characters > this.#limit) return;
    this.#conversations.set(id, { tenant, messages, characters });
    this.#characters += characters;
    for (const [oldest, conversation] of this.#conversations) {
      if (this.#characters <= this.#limit) break;
      this.#conversations.delete(oldest);
      this.#characters -= conversation.characters;
    }
  }

  /** @throws ApiError for an answer that is not kept, or is somebody else's. */
  find(id: string, tenant: string): Messages {
    const found = this.#conversations.get(id);
    if (found?.tenant === tenant) return found.messages;
    const message =
      `previous_response_id: ${JSON.stringify(id.slice(0, 100))} is not kept (any more): ` +
      "send the whole conversation";
    throw new ApiError(400, "previous_response_not_found", message, {
      param: "previous_response_id",
    });
  }
}
