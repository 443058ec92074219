/**
 * Chat templates of models that DaySix has no renderer for (Kimi-K2, GLM, V3.2, …), by their own Jinja. Markers that
 * somebody's words contain are hidden from the template and come back as plain text, so they stay words.
 */
import { Template } from "@huggingface/jinja";
import {
  type ChatMessage,
  ChatTemplateError,
  type ChatTool,
  contentText,
  spacedJson,
  templateRole,
} from "./chat-message.ts";
import type { Segment, Tokenizer } from "./tokenizer.ts";

export interface JinjaVariables {
  readonly tools: readonly ChatTool[];
  readonly [variable: string]: unknown;
}

export class JinjaTemplate {
  readonly #template: Template;
  readonly #tokenizer: Tokenizer;
  readonly #path: string;
  /** Whether tool calls' arguments are joined to strings, so must be text; others write them out themselves. */
  readonly #argumentsAsText: boolean;

  /** @throws ChatTemplateError naming `path` where the source is no Jinja. */
  constructor(source: string, path: string, tokenizer: Tokenizer) {
    this.#path = path;
    this.#tokenizer = tokenizer;
    this.#argumentsAsText = /arguments['"]?\]?\s*(\+|is string)/.test(source);
    this.#template = this.#naming("is not a template", () => new Template(source));
  }

  /** @throws ChatTemplateError naming the message's field, or the template where it fails or refuses. */
  compose(messages: readonly ChatMessage[], variables: JinjaVariables): Segment[] {
    const hidden = new HiddenMarkers(this.#tokenizer);
    const { tools, ...others } = variables;
    spacedJson([messages, tools], "messages or tools");
    const rendered = this.#naming("cannot render this conversation", () =>
      this.#template.render({
        ...others,
        messages: messages.map((message, index) => this.#message(message, index, hidden)),
        ...(tools.length > 0 ? { tools: hidden.hide(tools) } : {}),
        add_generation_prompt: true,
        bos_token: this.#written(this.#tokenizer.bos),
        eos_token: this.#written(this.#tokenizer.eos),
      }),
    );
    return this.#tokenizer
      .split(rendered)
      .map((segment) =>
        segment.special ? segment : { ...segment, text: hidden.restore(segment.text) },
      );
  }

  #message(message: ChatMessage, index: number, hidden: HiddenMarkers): Record<string, unknown> {
    const field = `messages[${index}]`;
    const role = templateRole(message, field);
    const { tool_calls, reasoning, reasoning_content, name, tool_call_id } = message;
    const content = contentText(message, field);
    const thoughts = reasoning_content ?? reasoning;
    const calls = tool_calls?.map((call) => ({
      ...call,
      type: call.type ?? "function",
      function: { ...call.function, arguments: this.#arguments(call.function?.arguments) },
    }));
    return {
      role,
      // Templates look for thoughts in answers by their tags, so an answer keeps those.
      content: hidden.hide(role === "assistant" ? content : (content ?? ""), role === "assistant"),
      ...(calls?.length ? { tool_calls: hidden.hide(calls) } : {}),
      ...(thoughts ? { reasoning_content: hidden.hide(thoughts) } : {}),
      ...(name === undefined ? {} : { name: hidden.hide(name) }),
      ...(tool_call_id === undefined ? {} : { tool_call_id: hidden.hide(tool_call_id) }),
    };
  }

  #arguments(given: unknown): unknown {
    if (this.#argumentsAsText) {
      return typeof given === "string" ? given : spacedJson(given ?? {}, "tool_calls");
    }
    if (typeof given !== "string") return given ?? {};
    try {
      return JSON.parse(given);
    } catch {
      return given;
    }
  }

  #written(token: number | undefined): string {
    return token === undefined ? "" : this.#tokenizer.decode([token]);
  }

  #naming<Result>(problem: string, act: () => Result): Result {
    try {
      return act();
    } catch (cause) {
      if (cause instanceof ChatTemplateError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ChatTemplateError(this.#path, `${problem}: ${reason}`, { cause });
    }
  }
}

/** Stands for the marker of this number, in characters of Unicode's private use. */
const standIn = (marker: number) => `\uE0FE${marker}\uE0FF`;

/** Markers found in a conversation's words, while a template lays them out. */
class HiddenMarkers {
  readonly #tokenizer: Tokenizer;
  readonly #markers: string[] = [];

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The same value, its strings free of markers. */
  hide(value: unknown, keepThinkTags = false): unknown {
    if (typeof value === "string") return this.#hideIn(value, keepThinkTags);
    if (Array.isArray(value)) return value.map((child) => this.hide(child));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, child]) => [this.#hideIn(key, false), this.hide(child)]),
    );
  }

  restore(text: string): string {
    return text.replaceAll(
      /\uE0FE(\d+)\uE0FF/g,
      (whole, marker: string) => this.#markers[Number(marker)] ?? whole,
    );
  }

  #hideIn(text: string, keepThinkTags: boolean): string {
    return this.#tokenizer
      .split(text)
      .map((segment) => {
        const isTag = segment.text === "<think>" || segment.text === "</think>";
        if (!segment.special || (keepThinkTags && isTag)) return segment.text;
        return standIn(this.#markers.push(segment.text) - 1);
      })
      .join("");
  }
}
