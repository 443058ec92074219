export { chatFields } from "./chat-fields.ts";
export {
  completionFields,
  detokenizeFields,
  rebalanceFields,
  scaleFields,
  tokenizeFields,
} from "./completion-fields.ts";
export { FieldCheck } from "./field-check.ts";
export { done, type FieldSources, harmless, refused } from "./field.ts";
