import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Logger } from "pino";
import type { ErrorEnvelope } from "./wire.ts";

/** OpenAI's `type` for a status; every other 4xx is an `invalid_request_error`. */
const typeOfStatus: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  429: "rate_limit_error",
  500: "server_error",
  503: "server_error",
};

/** A refusal or a failure a client is told of, in OpenAI's envelope. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: ContentfulStatusCode;
  readonly code: string;
  /** The request's field at fault, as `messages[0].content`. */
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: ContentfulStatusCode,
    code: string,
    message: string,
    details: { param?: string; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = details.param ?? null;
    this.headers = details.headers ?? {};
  }

  /** The same of a field that goes by another name. */
  named(nameOf: (param: string) => string): ApiError {
    const { status, code, param, headers } = this;
    const own = param === null ? param : nameOf(param);
    if (param === null || own === null || own === param) return this;
    const message = this.message.replace(param, () => own);
    return new ApiError(status, code, message, { param: own, headers });
  }

  envelope(): ErrorEnvelope {
    return {
      error: {
        message: this.message,
        type: typeOfStatus[this.status] ?? "invalid_request_error",
        param: this.param,
        code: this.code,
      },
    };
  }
}

/** A field whose value cannot be used. */
export function invalidValue(param: string, message: string): ApiError {
  return new ApiError(400, "invalid_value", message, { param });
}

/** A field this server understands and does not serve yet. */
export function unsupported(param: string, message: string): ApiError {
  return new ApiError(400, "unsupported_parameter", message, { param });
}

const RETRY_AFTER_SECONDS = "1";

/** A queue that holds as much as it may. */
export function queueFull(problem: string): ApiError {
  const headers = { "retry-after": RETRY_AFTER_SECONDS };
  return new ApiError(429, "queue_full", `${problem}; try again`, { headers });
}

/** What an engine's failure means over HTTP: gone, or broken at this request. */
export function engineFailure(code: string, message: string): ApiError {
  const gone = code === "engine_ended" || code === "rank_lost";
  return new ApiError(gone ? 503 : 500, code, message);
}

/** The client has gone; nobody is left to tell. */
export class ClientGone extends Error {
  override readonly name = "ClientGone";
}

/** The error a client is told of; what is unexpected is logged whole and told in one word. */
export function knownError(error: unknown, log: Logger): ApiError {
  if (error instanceof ApiError) return error;
  log.error({ err: error }, "unexpected error");
  return new ApiError(500, "internal_error", "the server failed to answer; its log says why");
}
