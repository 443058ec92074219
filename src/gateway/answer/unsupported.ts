import { unsupported, type ApiError } from "../errors.ts";
import type { ChatRequest, CompletionRequest } from "../wire.ts";

/**
 * What this server understands and does not do yet, refused by its field's name: an answer that
 * ignored it would look right and be wrong.
 * @throws ApiError
 */
export function refuseUnsupportedChat(request: ChatRequest): void {
  const { tool_choice, functions, modalities } = request;
  if (tool_choice && tool_choice !== "auto" && tool_choice !== "none") {
    const choice = typeof tool_choice === "string" ? tool_choice : `a forced ${tool_choice.type}`;
    throw notYet("tool_choice", `${choice} is not supported yet; use auto or none`);
  }
  if (functions?.length) throw notYet("functions", "not supported; use tools");
  if (modalities?.some((modality) => modality !== "text")) {
    throw notYet("modalities", "this model answers in text alone");
  }
}

/** @throws ApiError as `refuseUnsupportedChat`. */
export function refuseUnsupportedCompletion(request: CompletionRequest): void {
  if (request.echo) throw notYet("echo", "not supported yet");
  if (request.suffix) throw notYet("suffix", "not supported yet");
  if ((request.best_of ?? 0) > (request.n ?? 1)) {
    throw notYet("best_of", "not supported; ask for n choices");
  }
}

const notYet = (param: string, message: string): ApiError =>
  unsupported(param, `${param}: ${message}`);
