import type { GrammarSource, Thinking } from "../../model/index.ts";
import { invalidValue, unsupported } from "../errors.ts";
import { offeredTools } from "./prompt.ts";
import type { Constraint, MaskWorker } from "../text/index.ts";
import type { ChatRequest, SharedRequest } from "../wire.ts";

const noThoughts: Thinking = { startsInReasoning: false, mayThink: false };

/**
 * Constraints of each of a request's answers; none where answers are free.
 * @throws ApiError naming the field, and what of it cannot be followed
 */
export async function openConstraints(
  masks: MaskWorker,
  request: ChatRequest | SharedRequest,
  answers: number,
  thinking: Thinking = noThoughts,
): Promise<readonly Constraint[]> {
  const asked = constraintOf(request);
  return asked ? masks.open(asked.source, asked.param, thinking, answers) : [];
}

/** What an answer must be, and which field says so. */
interface AskedConstraint {
  readonly source: GrammarSource;
  readonly param: string;
}

type Found = readonly [param: string, value: unknown];

/** Names of vLLM's `structured_outputs`, and what they were called before. */
const names = ["json", "json_object", "regex", "choice", "grammar"] as const;

/**
 * What OpenAI's `response_format`, or vLLM's `structured_outputs` and `guided_…`, ask for.
 * @throws ApiError when a field says what cannot be, or two say something
 */
function constraintOf(request: ChatRequest | SharedRequest): AskedConstraint | undefined {
  const format = "response_format" in request ? request.response_format : undefined;
  const found: Found[] = format && format.type !== "text" ? [["response_format", format]] : [];
  const together = request.structured_outputs ?? {};
  for (const name of names) {
    const values = [
      [`structured_outputs.${name}`, together[name]],
      [`guided_${name}`, request[`guided_${name}`]],
    ] as const;
    found.push(
      ...values.filter(([, value]) => value !== undefined && value !== null && value !== false),
    );
  }
  const foreign = Object.keys(together).find((key) => !(names as readonly string[]).includes(key));
  if (foreign !== undefined && together[foreign] !== null) {
    const param = `structured_outputs.${foreign}`;
    throw unsupported(param, `${param}: expected one of ${names.join(", ")}`);
  }
  if (found.length > 1) {
    const [[first], [second]] = found;
    throw invalidValue(second, `${second}: expected one constraint, ${first} is another`);
  }
  if (found.length > 0 && "tools" in request && offeredTools(request).length > 0) {
    throw unsupported(found[0][0], `${found[0][0]}: not supported beside tools yet`);
  }
  if (found.length === 0) return undefined;
  const [[param, value]] = found;
  const barring = (["ignore_eos", "min_tokens"] as const).find((field) => request[field]);
  if (barring) {
    const message = `${barring}: not supported beside ${param}, which says where the answer ends`;
    throw unsupported(barring, message);
  }
  return constraintIn(param, value);
}

function constraintIn(param: string, value: unknown): AskedConstraint {
  if (param === "response_format") return formatConstraint(value as { type: string });
  const kind = param.replace(/^guided_|^structured_outputs\./, "");
  if (kind === "json") return { param, source: { kind: "json", schema: schemaIn(value, param) } };
  if (kind === "json_object") return { param, source: anyObject };
  if (kind === "regex") return { param, source: { kind: "regex", pattern: textIn(value, param) } };
  if (kind === "choice") {
    if (!Array.isArray(value) || value.length === 0) {
      throw invalidValue(param, `${param}: expected texts, one of which the answer is`);
    }
    return { param, source: { kind: "choice", texts: value.map((each) => textIn(each, param)) } };
  }
  return { param, source: { kind: "ebnf", grammar: textIn(value, param) } };
}

const anyObject: GrammarSource = { kind: "json", schema: { type: "object" } };

function formatConstraint(format: { readonly type: string; readonly json_schema?: unknown }) {
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
  return { param, source: { kind: "json", schema: schemaIn(described.schema, param) } as const };
}

/** vLLM's clients send schemas as text, too. */
function schemaIn(value: unknown, param: string): boolean | Record<string, unknown> {
  let schema = value;
  if (typeof value === "string") {
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
