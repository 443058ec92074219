import { chatDialect } from "./chat.ts";
import type { Dialect } from "./dialect.ts";

export type { Dialect } from "./dialect.ts";

/** Every way to ask for a conversation's next message. */
export const dialects: readonly Dialect<unknown>[] = [chatDialect];
