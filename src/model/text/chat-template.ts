/** Which chat format a model folder speaks, and conversations written in it. */
import { join } from "node:path";
import { z } from "zod";
import { parseModelJson, readIfThere } from "../model-file.ts";
import { callsOf, composeDeepseek, type DeepseekFamily, toolSection } from "./chat-families.ts";
import { familyOf, habitsOf } from "./chat-habits.ts";
import { normaliseHistory } from "./chat-history.ts";
import { JinjaTemplate } from "./chat-jinja.ts";
import { type ChatMessage, ChatTemplateError, type ChatTool } from "./chat-message.ts";
import { type ToolCallFormat, toolCallFormats } from "./tool-call-formats.ts";
import type { Segment, Tokenizer } from "./tokenizer.ts";

export interface RenderOptions {
  readonly tools?: readonly ChatTool[] | undefined;
  /** Whether V3.1 thinks first; R1 always does. Also accepted as `enable_thinking`. Default false. */
  readonly thinking?: boolean | undefined;
  /** Whether the last message is the beginning of the answer, as its `prefix` says too. */
  readonly continuesFinal?: boolean | undefined;
  /** Anything else (a request's `chat_template_kwargs`) is for Jinja templates. */
  readonly [variable: string]: unknown;
}

type Compose = (messages: readonly ChatMessage[], options: RenderOptions) => Segment[];

export class ChatTemplate {
  /** `jinja`: the folder's own template; `none`: there is none. */
  readonly family: DeepseekFamily | "jinja" | "none";
  /** The file, and where in it, that the template is from. */
  readonly path: string;
  /** How the model writes tool calls; undefined where that is not known. */
  readonly toolCallFormat: ToolCallFormat | undefined;
  readonly #compose: Compose;
  readonly #tokenizer: Tokenizer;

  constructor(
    { family, path, toolCallFormat }: Pick<ChatTemplate, "family" | "path" | "toolCallFormat">,
    compose: Compose,
    tokenizer: Tokenizer,
  ) {
    this.family = family;
    this.path = path;
    this.toolCallFormat = toolCallFormat;
    this.#compose = compose;
    this.#tokenizer = tokenizer;
  }

  /**
   * The prompt's tokens, up to where the model goes on, with one begin-of-sentence token. Stops once there are more
   * than `limit`: then the result is cut, but longer than the limit.
   *
   * @throws ChatTemplateError naming the request's field that cannot be said.
   */
  render(messages: readonly ChatMessage[], options: RenderOptions = {}, limit?: number): number[] {
    return this.#tokenizer.encodeSegments(this.segments(messages, options), limit);
  }

  /** The prompt's markers and words, apart. */
  segments(messages: readonly ChatMessage[], options: RenderOptions): Segment[] {
    if (messages.length === 0) throw new ChatTemplateError("messages", "expected at least one");
    return this.#compose(messages, options);
  }
}

/**
 * The folder's chat template, or the one in `file`. A model without any has one that refuses all conversations.
 *
 * @throws ChatTemplateError naming the file that holds no template.
 */
export async function loadChatTemplate(
  directory: string,
  tokenizer: Tokenizer,
  file?: string,
): Promise<ChatTemplate> {
  return createChatTemplate(await findTemplate(directory, file), tokenizer);
}

/** Tries what the template makes of conversations. */
export function createChatTemplate(
  { source, path }: TemplateSource,
  tokenizer: Tokenizer,
): ChatTemplate {
  if (source === undefined) return noTemplate(path, tokenizer);
  const jinja = new JinjaTemplate(source, path, tokenizer);
  const habits = habitsOf(jinja);
  const family = familyOf(jinja, habits, source.includes("tool_calls"));
  if (family !== undefined) return familyTemplate(family, path, tokenizer);
  const toolCallFormat = jinjaToolCalls(source);
  const { partSeparator, tellsTools } = habits;
  const callId = toolCallFormat && toolCallFormats[toolCallFormat].callId;
  const compose: Compose = (messages, options) => {
    const { tools, ...variables } = jinjaVariables(options);
    const isUntold =
      !tellsTools && (toolCallFormat === "deepseek-v3" || toolCallFormat === "deepseek-v3.1");
    const conversation = {
      history: normaliseHistory(messages, { partSeparator, callId }),
      ...{ tools, variables, continues: continuesLast(messages, options) },
      toolSection: isUntold ? toolSection(toolCallFormat, tools) : [],
    };
    return jinja.compose(conversation, habits);
  };
  return new ChatTemplate({ family: "jinja", path, toolCallFormat }, compose, tokenizer);
}

function familyTemplate(family: DeepseekFamily, path: string, tokenizer: Tokenizer): ChatTemplate {
  const style = { partSeparator: "\n", callId: undefined };
  const compose: Compose = (messages, options) =>
    composeDeepseek(family, {
      history: normaliseHistory(messages, style),
      tools: options.tools ?? [],
      thinking: Boolean(options.thinking ?? options.enable_thinking ?? false),
      continues: continuesLast(messages, options),
    });
  return new ChatTemplate({ family, path, toolCallFormat: callsOf(family) }, compose, tokenizer);
}

function noTemplate(path: string, tokenizer: Tokenizer): ChatTemplate {
  const refuse = () => {
    const problem =
      "this model has no chat template; ask /v1/completions, or serve it with --chat-template";
    throw new ChatTemplateError("messages", problem);
  };
  return new ChatTemplate({ family: "none", path, toolCallFormat: undefined }, refuse, tokenizer);
}

/** @throws ChatTemplateError where the messages cannot be continued. */
function continuesLast(
  messages: readonly ChatMessage[],
  { continuesFinal }: RenderOptions,
): boolean {
  const last = messages.length - 1;
  const early = messages.findIndex(({ prefix }, index) => prefix && index !== last);
  if (early >= 0) {
    throw new ChatTemplateError(`messages[${early}].prefix`, "only the last message can be one");
  }
  const { role, prefix } = messages[last];
  if (!prefix && !continuesFinal) return false;
  if (role === "assistant") return true;
  throw new ChatTemplateError(`messages[${last}].role`, "expected assistant, to be continued");
}

/** How a template's model writes calls. */
function jinjaToolCalls(source: string): ToolCallFormat | undefined {
  const has = (part: string) => source.includes(part);
  if (has("<|tool_calls_section_begin|>")) return "kimi-k2";
  if (has("<tool_call>") && has("<arg_key>")) return "glm-4.7";
  if (has("｜DSML｜")) return has("function_calls>") ? "deepseek-v3.2" : "deepseek-v4";
  if (!has("<｜tool▁calls▁begin｜>")) return undefined;
  return has("```json") ? "deepseek-v3" : "deepseek-v3.1";
}

/** Templates name the switch either way. */
function jinjaVariables({ tools, thinking, ...others }: RenderOptions) {
  const chosen = thinking ?? others.enable_thinking;
  const switches = chosen === undefined ? {} : { thinking: chosen, enable_thinking: chosen };
  return { ...others, ...switches, tools: tools ?? [] };
}

const templateConfig = z.object({
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish(),
});

export interface TemplateSource {
  /** Undefined where the model has none. */
  readonly source: string | undefined;
  /** The file, and where in it. */
  readonly path: string;
}

/** The template in `file`, or else the folder's. @throws ChatTemplateError naming the file that holds none. */
export async function findTemplate(directory: string, file?: string): Promise<TemplateSource> {
  if (file === undefined) return readSource(directory);
  const source = await readIfThere(file);
  if (!source) throw new ChatTemplateError(file, "there is no such file");
  return { source: source.toString(), path: file };
}

/** From chat_template.jinja, or tokenizer_config.json's `chat_template`: one, or a list with a default. */
async function readSource(directory: string): Promise<TemplateSource> {
  const file = join(directory, "chat_template.jinja");
  const alone = await readIfThere(file);
  if (alone) return { source: alone.toString(), path: file };
  const configFile = join(directory, "tokenizer_config.json");
  const path = `${configFile}: chat_template`;
  const config = await readIfThere(configFile);
  const json = config ? parseModelJson(config, configFile) : {};
  const { success, data } = templateConfig.safeParse(json);
  if (!success) throw new ChatTemplateError(path, "expected a text or a list of named ones");
  const { chat_template: given } = data;
  const source =
    typeof given === "string" ? given : given?.find(({ name }) => name === "default")?.template;
  return { source, path };
}
