/** Which chat format a model folder speaks, and conversations written in it. */
import { join } from "node:path";
import { z } from "zod";
import { parseModelJson, readIfThere } from "../model-file.ts";
import { composeDeepseek, type DeepseekFamily } from "./chat-families.ts";
import { JinjaTemplate } from "./chat-jinja.ts";
import { type ChatMessage, ChatTemplateError, type ChatTool } from "./chat-message.ts";
import type { ToolCallFormat } from "./tool-call-formats.ts";
import type { Segment, Tokenizer } from "./tokenizer.ts";

export interface RenderOptions {
  readonly tools?: readonly ChatTool[] | undefined;
  /** Whether V3.1 thinks first; R1 always does. Also accepted as `enable_thinking`. Default false. */
  readonly thinking?: boolean | undefined;
  /** Anything else (a request's `chat_template_kwargs`) is for Jinja templates. */
  readonly [variable: string]: unknown;
}

type Compose = (messages: readonly ChatMessage[], options: RenderOptions) => Segment[];

export class ChatTemplate {
  /** `jinja`: the folder's own template. */
  readonly family: DeepseekFamily | "jinja";
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
 * The folder's chat template: DeepSeek's formats are recognised by their markers and rendered natively, others by
 * their Jinja.
 *
 * @throws ChatTemplateError naming the file where there is no template, as in base models' folders.
 */
export async function loadChatTemplate(
  directory: string,
  tokenizer: Tokenizer,
): Promise<ChatTemplate> {
  const { source, path } = await readSource(directory);
  const family = recognise(source, await readModelType(directory));
  if (family !== undefined) {
    const toolCallFormat = family === "deepseek-v3.1" ? "deepseek-v3.1" : "deepseek-v3";
    return new ChatTemplate(
      { family, path, toolCallFormat },
      (messages, options) =>
        composeDeepseek(family, messages, options.tools ?? [], wantsThinking(options)),
      tokenizer,
    );
  }
  const jinja = new JinjaTemplate(source, path, tokenizer);
  return new ChatTemplate(
    { family: "jinja", path, toolCallFormat: jinjaToolCalls(source) },
    (messages, options) => jinja.compose(messages, jinjaVariables(options)),
    tokenizer,
  );
}

function recognise(source: string, modelType: string | undefined): DeepseekFamily | undefined {
  if (modelType !== undefined && modelType !== "deepseek_v3") return undefined;
  const has = (part: string) => source.includes(part);
  if (!has("<｜User｜>") || !has("<｜Assistant｜>") || has("DSML")) return undefined;
  if (/\bthinking\b/.test(source)) return "deepseek-v3.1";
  // In the source of a template the line break is usually written as an escape.
  if (has("<｜Assistant｜><think>\\n") || has("<｜Assistant｜><think>\n")) return "deepseek-r1";
  return has("</think>") ? "deepseek-r1-0528" : "deepseek-v3";
}

function jinjaToolCalls(source: string): ToolCallFormat | undefined {
  const has = (part: string) => source.includes(part);
  if (has("<|tool_calls_section_begin|>")) return "kimi-k2";
  if (has("<tool_call>") && has("<arg_key>")) return "glm-4.7";
  if (has("｜DSML｜")) return has("function_calls>") ? "deepseek-v3.2" : "deepseek-v4";
  if (!has("<｜tool▁calls▁begin｜>")) return undefined;
  return has("```json") ? "deepseek-v3" : "deepseek-v3.1";
}

const wantsThinking = ({ thinking, enable_thinking }: RenderOptions) =>
  Boolean(thinking ?? enable_thinking ?? false);

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

/** From chat_template.jinja, or tokenizer_config.json's `chat_template`: one, or a list with a default. */
async function readSource(directory: string): Promise<{ source: string; path: string }> {
  const file = join(directory, "chat_template.jinja");
  const alone = await readIfThere(file);
  if (alone) return { source: alone.toString(), path: file };
  const configFile = join(directory, "tokenizer_config.json");
  const path = `${configFile}: chat_template`;
  const { success, data } = templateConfig.safeParse(await readJsonIfThere(configFile));
  if (!success) throw new ChatTemplateError(path, "expected a text or a list of named ones");
  const source =
    typeof data.chat_template === "string"
      ? data.chat_template
      : data.chat_template?.find(({ name }) => name === "default")?.template;
  if (source === undefined) throw new ChatTemplateError(path, "the model has none");
  return { source, path };
}

async function readModelType(directory: string): Promise<string | undefined> {
  const config = await readJsonIfThere(join(directory, "config.json"));
  return z.object({ model_type: z.string().optional() }).safeParse(config).data?.model_type;
}

async function readJsonIfThere(path: string): Promise<unknown> {
  const bytes = await readIfThere(path);
  return bytes ? parseModelJson(bytes, path) : {};
}
