export {
  type ChatMessage,
  ChatTemplateError,
  type ChatTool,
  type ContentPart,
  type ToolCall,
} from "./chat-message.ts";
export {
  ChatTemplate,
  createChatTemplate,
  findTemplate,
  loadChatTemplate,
  type RenderOptions,
} from "./chat-template.ts";
export { Detokenizer } from "./detokenizer.ts";
export type { OutputDelta } from "./output-delta.ts";
export { OutputParser, thinkingAfter } from "./output-parser.ts";
export { firstMatch, unfinishedLength } from "./text-search.ts";
export { endToken } from "./tokenizer-parts.ts";
export { hasTokenizer, TokenizerError, tokenizerPath } from "./tokenizer-file.ts";
export { Tokenizer } from "./tokenizer.ts";
export { writtenParameter } from "./argument-pairs.ts";
export {
  type FormatDescription,
  type ToolCallFormat,
  toolCallFormats,
} from "./tool-call-formats.ts";
export { Vocabulary, type VocabularyTables } from "./vocabulary.ts";
