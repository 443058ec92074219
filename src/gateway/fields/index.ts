export { chatFields } from "./chat-fields.ts";
export { completionFields, detokenizeFields, tokenizeFields } from "./completion-fields.ts";
export { FieldCheck } from "./field-check.ts";
export type { FieldSources } from "./field.ts";
