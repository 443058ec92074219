import type { z } from "@hono/zod-openapi";
import { ApiError, ClientGone } from "../errors.ts";

type Issue = z.core.$ZodIssue;

/**
 * A request's JSON body, read no further than `limit` bytes and checked against its schema.
 * @throws ApiError naming what is wrong: size, content type, UTF-8, JSON, or the field.
 */
export async function readJson<T>(
  request: Request,
  schema: z.ZodType<T>,
  limit: number,
): Promise<T> {
  const type = request.headers.get("content-type") ?? "nothing";
  if (!/^application\/([\w.-]+\+)?json\b/i.test(type)) {
    throw mediaType(`content-type: expected application/json, got ${type.slice(0, 100)}`);
  }
  const encoding = request.headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw mediaType(`content-encoding: expected none, got ${encoding.slice(0, 100)}`);
  }
  const text = decodeUtf8(await readBytes(request, limit));
  const result = schema.safeParse(parseJson(text));
  if (result.success) return result.data;
  const { path, message } = deepest(result.error.issues[0]);
  const param = fieldName(path);
  throw new ApiError(400, "invalid_value", param ? `${param}: ${message}` : message, { param });
}

const mediaType = (message: string) => new ApiError(415, "unsupported_media_type", message);

const tooLarge = (limit: number) =>
  new ApiError(413, "body_too_large", `the body is too large: expected at most ${limit} bytes`, {
    headers: { connection: "close" },
  });

/** A body whose length is stated ends there, and needs no stream to be cut short. */
async function readBytes(request: Request, limit: number): Promise<Uint8Array> {
  const stated = request.headers.get("content-length");
  if (Number(stated ?? 0) > limit) throw tooLarge(limit);
  try {
    if (stated === null) return await readPieces(request, limit);
    return new Uint8Array(await request.arrayBuffer());
  } catch (error) {
    throw error instanceof ApiError ? error : new ClientGone();
  }
}

async function readPieces(request: Request, limit: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body ?? []) {
    size += piece.byteLength;
    if (size > limit) throw tooLarge(limit);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, size);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ApiError(400, "invalid_utf8", "the body is not UTF-8");
  }
}

function parseJson(text: string): unknown {
  if (isDeeperThan(text, NESTING_LIMIT)) {
    throw new ApiError(
      400,
      "invalid_json",
      `the body is nested deeper than ${NESTING_LIMIT} levels`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : "";
    throw new ApiError(400, "invalid_json", `the body is not JSON: ${reason}`);
  }
}

/** Deeper than any tool's schema; shallow enough for whoever walks the value by recursion. */
const NESTING_LIMIT = 128;

function isDeeperThan(json: string, levels: number): boolean {
  let depth = 0;
  for (const [part] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/gs)) {
    if (part === "[" || part === "{") depth++;
    else if (part === "]" || part === "}") depth--;
    if (depth > levels) return true;
  }
  return false;
}

/** The issue to report: inside a union, that of the alternative which came furthest. */
function deepest(issue: Issue): { path: PropertyKey[]; message: string } {
  const found = { path: issue.path, message: issue.message.replace(/^Invalid input: /, "") };
  if (issue.code !== "invalid_union") return found;
  const inner = issue.errors.filter((issues) => issues.length > 0).map(([first]) => deepest(first));
  const furthest = inner.sort((a, b) => progress(b.path) - progress(a.path)).at(0);
  if (!furthest) return found;
  if (furthest.path.length > 0) {
    return { path: [...issue.path, ...furthest.path], message: furthest.message };
  }
  if (issue.message !== "Invalid input") return found;
  return { path: issue.path, message: inner.map(({ message }) => message).join(", or ") };
}

/** Deeper first, then later in a list. */
const progress = (path: readonly PropertyKey[]) =>
  path.length + (typeof path.at(-1) === "number" ? 1 - 1 / (Number(path.at(-1)) + 1) : 0);

/** As OpenAI writes it: `messages[0].content`. */
const fieldName = (path: readonly PropertyKey[]) =>
  path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
