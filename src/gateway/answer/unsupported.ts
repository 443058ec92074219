import { unsupported, type ApiError } from "../errors.ts";
import type { ChatRequest, CompletionRequest } from "../wire.ts";

/**
 * Values of known fields that this server understands and does not do yet, refused by their field's
 * name: an answer that ignored them would look right and be wrong. `fields/` has the fields.
 * @throws ApiError
 */
export function refuseUnsupportedChat(request: ChatRequest): void {
  const { modalities } = request;
  if (modalities?.some((modality) => modality !== "text")) {
    throw notYet("modalities", "this model answers in text alone");
  }
  const goesOn = request.continue_final_message || hasPrefix(request.messages.at(-1));
  if (request.add_generation_prompt === false && !goesOn) {
    throw notYet("add_generation_prompt", "expected true without continue_final_message");
  }
}

/** @throws ApiError as `refuseUnsupportedChat`. */
export function refuseUnsupportedCompletion(request: CompletionRequest): void {
  if (request.echo && typeof request.logprobs === "number") {
    throw notYet("echo", "not supported beside logprobs, which are told of the answer alone");
  }
}

const hasPrefix = (message: ChatRequest["messages"][number] | undefined): boolean =>
  message?.role === "assistant" && message.prefix === true;

const notYet = (param: string, message: string): ApiError =>
  unsupported(param, `${param}: ${message}`);
