import { z } from "@hono/zod-openapi";
import type { CalledFunction } from "../../model/index.ts";
import { invalidValue, unsupported } from "../errors.ts";
import type { ChatRequest } from "../wire.ts";

/** What an answer may call. */
export interface CallableTools {
  readonly functions: readonly CalledFunction[];
  /** The answer is calls. */
  readonly isForced: boolean;
  /** Not all tools that the model is told of. */
  readonly isLimited: boolean;
  /** There may be several calls. */
  readonly parallel: boolean;
}

/** The functions the model is told of. */
export function offeredTools({
  tools,
  tool_choice,
}: ChatRequest): NonNullable<ChatRequest["tools"]> {
  return tool_choice === "none" ? [] : (tools ?? []);
}

/**
 * What of a request's tools may be called, and must; undefined where nothing can.
 * @throws ApiError naming `tool_choice` where it asks for what is not there
 */
export function callableTools(request: ChatRequest): CallableTools | undefined {
  const offered = offeredTools(request);
  const { mode, names } = choiceOf(request);
  if (offered.length === 0) {
    if (mode === "auto" && !names) return undefined;
    throw invalidValue("tool_choice", "tool_choice: expected tools to choose from, got none");
  }
  const missing = names?.find((name) => !offered.some((tool) => tool.function.name === name));
  if (missing !== undefined) {
    const message = `tool_choice: expected a tool of the request, got ${JSON.stringify(missing)}`;
    throw invalidValue("tool_choice", message);
  }
  const chosen = offered.filter((tool) => names?.includes(tool.function.name) ?? true);
  return {
    functions: chosen.map(({ function: { name, parameters, strict } }) => ({
      ...{ name, isStrict: strict ?? false },
      parameters: parameters ?? { type: "object" },
    })),
    isForced: mode !== "auto",
    isLimited: chosen.length < offered.length,
    parallel: request.parallel_tool_calls !== false && mode !== "named",
  };
}

const named = z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) });
const allowed = z.object({
  type: z.literal("allowed_tools"),
  allowed_tools: z.object({ mode: z.enum(["auto", "required"]), tools: z.array(named).min(1) }),
});

interface Choice {
  /** `named`: one call of the one function. */
  readonly mode: "auto" | "required" | "named";
  readonly names?: readonly string[];
}

function choiceOf({ tool_choice: choice }: ChatRequest): Choice {
  if (!choice || choice === "auto" || choice === "none") return { mode: "auto" };
  if (choice === "required") return { mode: "required" };
  const one = named.safeParse(choice);
  if (one.success) return { mode: "named", names: [one.data.function.name] };
  const some = allowed.safeParse(choice);
  if (some.success) {
    const { mode, tools } = some.data.allowed_tools;
    return { mode, names: tools.map((tool) => tool.function.name) };
  }
  const message = `tool_choice: expected none, auto, required, or an object of type function or allowed_tools with their names`;
  if (choice.type === "function" || choice.type === "allowed_tools") {
    throw invalidValue("tool_choice", message);
  }
  throw unsupported("tool_choice", `${message}, got type ${choice.type}`);
}
