import type { GrammarSource, TextSource, ToolCallFormat } from "../../model/index.ts";
import { invalidValue, unsupported } from "../errors.ts";
import { findExcess, requestBounds } from "../json-bounds.ts";
import type { Constraint, MaskWorker, Thinking } from "../text/index.ts";
import type { ChatRequest, SharedRequest } from "../wire.ts";
import { type CallableTools, callableTools } from "./tool-choice.ts";

/** What else there is to know of a chat. */
interface ChatFacts {
  readonly thinking: Thinking;
  /** How the model writes calls. */
  readonly toolCallFormat: ToolCallFormat | undefined;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

/**
 * Constraints of each of a chat's answers; none where answers are free.
 * @throws ApiError naming the field, and what of it cannot be followed
 */
export async function openChatConstraints(
  masks: MaskWorker,
  request: ChatRequest,
  { thinking, toolCallFormat, signal }: ChatFacts,
): Promise<readonly Constraint[]> {
  const text = textConstraintOf(request);
  const tools = callableTools(request);
  const source = toolCallFormat && tools && callsSource(tools, toolCallFormat, text);
  const asked = source ? { source, param: text?.param ?? "tools" } : text;
  return open(masks, request, asked, { thinking, answers: request.n ?? 1, signal });
}

/** Constraints of each of a raw request's answers, in the same way. @throws ApiError */
export async function openCompletionConstraints(
  masks: MaskWorker,
  request: SharedRequest,
  answers: number,
  signal: AbortSignal,
): Promise<readonly Constraint[]> {
  const asked = textConstraintOf(request);
  return open(masks, request, asked, { thinking: noThoughts, answers, signal });
}

const noThoughts: Thinking = { startsInReasoning: false, mayThink: false };

interface AnswerFacts {
  readonly thinking: Thinking;
  readonly answers: number;
  readonly signal: AbortSignal;
}

async function open(
  masks: MaskWorker,
  request: SharedRequest,
  asked: AskedConstraint<GrammarSource> | undefined,
  { signal, ...answers }: AnswerFacts,
): Promise<readonly Constraint[]> {
  if (!asked) return [];
  const { param } = asked;
  const barring = (["ignore_eos", "min_tokens"] as const).find((field) => request[field]);
  if (barring) {
    const message = `${barring}: not supported beside ${param}, which says where the answer ends`;
    throw unsupported(barring, message);
  }
  return masks.open({ ...asked, ...answers }, signal);
}

/** Undefined where calls, or words in their place, are free. */
function callsSource(
  { functions, isForced, isLimited, parallel }: CallableTools,
  format: ToolCallFormat,
  text: AskedConstraint<TextSource> | undefined,
): GrammarSource | undefined {
  const isStrict = functions.some((each) => each.isStrict);
  if (!isForced && !isLimited && !isStrict && !text) return undefined;
  const calls = { kind: "calls", format, functions, parallel } as const;
  return isForced ? calls : { ...calls, otherwise: text?.source ?? "words" };
}

/** What an answer must be, and which field says so. */
interface AskedConstraint<Source> {
  readonly source: Source;
  readonly param: string;
}

/** Names of vLLM's `structured_outputs`, and what they were called before. */
const kinds = ["json", "json_object", "regex", "choice", "grammar"] as const;
type Kind = (typeof kinds)[number];

/** Fields of SGLang and llama-server that say the same. */
const otherFields = {
  regex: "regex",
  ebnf: "grammar",
  grammar: "grammar",
  json_schema: "json",
} as const satisfies Partial<Record<keyof SharedRequest, Kind>>;

/**
 * What `response_format`, `structured_outputs` or a field like them asks for.
 * @throws ApiError when a field says what cannot be, or two say something
 */
function textConstraintOf(request: SharedRequest): AskedConstraint<TextSource> | undefined {
  const { response_format: format, structured_outputs } = request;
  const together = structured_outputs ?? {};
  const foreign = Object.keys(together).find((key) => !(kinds as readonly string[]).includes(key));
  if (foreign !== undefined && isSaid(together[foreign])) {
    const param = `structured_outputs.${foreign}`;
    throw unsupported(param, `${param}: expected one of ${kinds.join(", ")}`);
  }
  const told = [
    ...kinds.map((kind) => [`structured_outputs.${kind}`, kind, together[kind]] as const),
    ...kinds.map((kind) => [`guided_${kind}`, kind, request[`guided_${kind}`]] as const),
    ...Object.entries(otherFields).map(
      ([field, kind]) => [field, kind, request[field as keyof typeof otherFields]] as const,
    ),
  ];
  const found = [
    ...(format && format.type !== "text" ? [formatConstraint(format)] : []),
    ...told
      .filter(([, , value]) => isSaid(value))
      .map(([param, kind, value]) => ({ param, source: sourceOf(kind, value, param) })),
  ];
  if (found.length > 1) {
    const [{ param: first }, { param: second }] = found;
    throw invalidValue(second, `${second}: expected one constraint, ${first} is another`);
  }
  return found[0];
}

/** Clients send what they do not mean as null, false or an empty text. */
const isSaid = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== false && value !== "";

function sourceOf(kind: Kind, value: unknown, param: string): TextSource {
  switch (kind) {
    case "json":
      return { kind, schema: schemaIn(value, param) };
    case "json_object":
      return anyObject;
    case "regex":
      return { kind, pattern: textIn(value, param) };
    case "grammar":
      return { kind: "ebnf", grammar: textIn(value, param) };
    case "choice":
      if (Array.isArray(value) && value.length > 0) {
        return { kind, texts: value.map((each) => textIn(each, param)) };
      }
      throw invalidValue(param, `${param}: expected texts, one of which the answer is`);
  }
}

const anyObject: TextSource = { kind: "json", schema: { type: "object" } };

function formatConstraint(format: {
  readonly type: string;
  readonly json_schema?: unknown;
}): AskedConstraint<TextSource> {
  if (format.type === "json_object") return { param: "response_format", source: anyObject };
  if (format.type !== "json_schema") {
    const message = `response_format.type: expected text, json_object or json_schema, got ${format.type}`;
    throw unsupported("response_format", message);
  }
  const param = "response_format.json_schema.schema";
  const { json_schema: described } = format;
  if (typeof described !== "object" || described === null || !("schema" in described)) {
    throw invalidValue(param, `${param}: expected a schema`);
  }
  return { param, source: { kind: "json", schema: schemaIn(described.schema, param) } };
}

/** vLLM's clients send schemas as text, too, which may hold no more than a body. */
function schemaIn(value: unknown, param: string): boolean | Record<string, unknown> {
  let schema = value;
  if (typeof value === "string") {
    const excess = findExcess(value, requestBounds, "the schema");
    if (excess) throw invalidValue(param, `${param}: ${excess.message}`);
    try {
      schema = JSON.parse(value);
    } catch {
      // It is no schema either way.
    }
  }
  if (typeof schema === "boolean") return schema;
  if (typeof schema === "object" && schema !== null && !Array.isArray(schema)) {
    return schema as Record<string, unknown>;
  }
  throw invalidValue(param, `${param}: expected a JSON schema`);
}

function textIn(value: unknown, param: string): string {
  if (typeof value === "string") return value;
  throw invalidValue(param, `${param}: expected a text`);
}
