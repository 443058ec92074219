import { chatDialect } from "./chat.ts";
import type { Counting, Dialect } from "./dialect.ts";
import { messagesDialect, messageTokens } from "./messages.ts";
import { createResponses } from "./responses.ts";

export type { Counting, Dialect } from "./dialect.ts";

/** Every way to ask for a conversation's next message, or for its length. */
export function createDialects(): {
  readonly dialects: readonly Dialect<unknown>[];
  readonly countings: readonly Counting<unknown>[];
} {
  const responses = createResponses();
  return {
    dialects: [chatDialect, messagesDialect, responses.dialect],
    countings: [messageTokens, responses.counting],
  };
}
