/** What the gateway and its text worker tell each other. Tasks are answered one at a time, in order. */
import type {
  ChatMessage,
  RenderOptions,
  ToolCallFormat,
  VocabularyTables,
} from "../../model/index.ts";

interface Limited {
  /** Tokens after which the worker stops: a prompt cut there is longer than the limit all the same. */
  readonly limit: number;
}

interface ChatTask extends Limited {
  readonly kind: "chat";
  readonly messages: readonly ChatMessage[];
  readonly options: RenderOptions;
}

interface RawTask extends Limited {
  readonly kind: "raw";
  readonly texts: readonly string[];
  /** Whether each begins with exactly one begin-of-sentence token. */
  readonly begins: boolean;
}

export type TextTask = ChatTask | RawTask;

/** What the gateway needs to read a model's tokens. */
export interface TextFormat {
  readonly vocabulary: VocabularyTables;
  readonly toolCallFormat: ToolCallFormat | undefined;
}

/** `trying`: what is at work before the worker is ready, with the file's name, should it never end. */
export type TextReport =
  | { readonly kind: "trying"; readonly what: string }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "ready"; readonly format: TextFormat }
  | { readonly kind: "prompts"; readonly prompts: readonly Uint32Array[] }
  | { readonly kind: "unsayable"; readonly field: string; readonly message: string }
  | { readonly kind: "failed"; readonly message: string };
