import type { z } from "@hono/zod-openapi";
import { untilFirstFault } from "../../model/index.ts";
import { ApiError, invalidValue } from "../errors.ts";
import type { Bodies, IncomingBody } from "./bodies.ts";
import { findExcess, requestBounds } from "../json-bounds.ts";

type Issue = z.core.$ZodIssue;

interface ReadBody<T> {
  /** What the schema knows of the body. */
  readonly data: T;
  /** All of it. */
  readonly body: unknown;
  /** As it was sent. */
  readonly json: string;
}

/**
 * A request's JSON body, read as `bodies` allow and checked against its schema; `whenEmpty` is what an
 * empty one says.
 * @throws ApiError naming what is wrong: size, time, content type, UTF-8, JSON, or the field.
 */
export async function readJson<T>(
  body: IncomingBody,
  schema: z.ZodType<T>,
  bodies: Bodies,
  whenEmpty = "",
): Promise<ReadBody<T>> {
  assertJson(body.headers);
  return bodies.hold(body, (bytes) => parse(decodeUtf8(bytes) || whenEmpty, schema));
}

/** A page of another origin may not send JSON unasked. @throws ApiError 415 */
function assertJson(headers: Headers): void {
  const type = headers.get("content-type") ?? "nothing";
  if (!/^application\/([\w.-]+\+)?json\b/i.test(type)) {
    throw mediaType(`content-type: expected application/json, got ${type.slice(0, 100)}`);
  }
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw mediaType(`content-encoding: expected none, got ${encoding.slice(0, 100)}`);
  }
}

function parse<T>(text: string, schema: z.ZodType<T>): ReadBody<T> {
  const excess = findExcess(text, requestBounds);
  if (excess) throw wrongField(excess.path, excess.message);
  const body = parseJson(text);
  const result = schema.safeParse(body, untilFirstFault);
  if (result.success) return { data: result.data, body, json: text };
  const { path, message } = deepest(result.error.issues[0]);
  throw wrongField(path, message);
}

function wrongField(path: readonly PropertyKey[], message: string): ApiError {
  const param = fieldName(path);
  return invalidValue(param, param ? `${param}: ${message}` : message);
}

const mediaType = (message: string) => new ApiError(415, "unsupported_media_type", message);

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ApiError(400, "invalid_utf8", "the body is not UTF-8");
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : "";
    throw new ApiError(400, "invalid_json", `the body is not JSON: ${reason}`);
  }
}

interface Fault {
  readonly path: PropertyKey[];
  readonly message: string;
  /** Whether the value is not even of the kind expected. */
  readonly wrongType: boolean;
}

/** The issue to report: inside a union, that of the alternative which came furthest. */
function deepest(issue: Issue): Fault {
  if (issue.code === "unrecognized_keys") {
    return { path: [...issue.path, issue.keys[0]], message: "unknown field", wrongType: false };
  }
  const message = issue.message.replace(/^Invalid input: /, "");
  const found = { path: issue.path, message, wrongType: issue.code === "invalid_type" };
  if (issue.code !== "invalid_union") return found;
  const inner = issue.errors.filter((issues) => issues.length > 0).map(([first]) => deepest(first));
  const furthest = inner.sort((a, b) => progress(b) - progress(a)).at(0);
  if (!furthest) return found;
  if (furthest.path.length > 0 || !furthest.wrongType) {
    return { ...furthest, path: [...issue.path, ...furthest.path] };
  }
  if (issue.message !== "Invalid input") return found;
  return { ...found, message: inner.map((each) => each.message).join(", or ") };
}

/** Deeper first, then later in a list, then what is at least of the right kind. */
const progress = ({ path, wrongType }: Fault) => {
  const last = path.at(-1);
  const inList = typeof last === "number" ? 1 - 1 / (last + 1) : 0;
  return path.length + inList - (wrongType ? 1e-9 : 0);
};

/** As OpenAI writes it: `messages[0].content`. */
const fieldName = (path: readonly PropertyKey[]) =>
  path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
