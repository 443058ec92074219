/** Tool calls as each format's models write them, and what an output parser makes of them. */
import type { ChatTool } from "./chat-message.ts";
import type { OutputDelta } from "./output-delta.ts";
import { OutputParser, type OutputOptions } from "./output-parser.ts";
import type { ToolCallFormat } from "./tool-call-formats.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface Call {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** Markers of every format; V3.2's words around its token are ordinary text. */
export const callMarkers = [
  ..."tool_calls_section_begin tool_calls_section_end tool_call_begin tool_call_end tool_call_argument_begin"
    .split(" ")
    .map((name) => `<|${name}|>`),
  ..."tool_call /tool_call arg_key /arg_key arg_value /arg_value"
    .split(" ")
    .map((name) => `<${name}>`),
  "｜DSML｜",
];

const json = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

const dsml = (section: string) => (calls: readonly Call[]) =>
  `\n\n<｜DSML｜${section}>\n` +
  calls
    .map(({ name, arguments: given }) => {
      const pairs = Object.entries(given).map(
        ([key, value]) =>
          `<｜DSML｜parameter name="${key}" string="${typeof value === "string"}">${json(value)}</｜DSML｜parameter>\n`,
      );
      return `<｜DSML｜invoke name="${name}">\n${pairs.join("")}</｜DSML｜invoke>\n`;
    })
    .join("") +
  `</｜DSML｜${section}>`;

const deepseek =
  (each: (name: string, text: string) => string, between: string) => (calls: readonly Call[]) =>
    `<｜tool▁calls▁begin｜>${calls
      .map((call) => {
        const said = each(call.name, JSON.stringify(call.arguments));
        return `<｜tool▁call▁begin｜>${said}<｜tool▁call▁end｜>`;
      })
      .join(between)}<｜tool▁calls▁end｜>`;

/** An answer's calls as the format's model was trained to write them. */
export const written: Record<ToolCallFormat, (calls: readonly Call[]) => string> = {
  "deepseek-v3": deepseek(
    (name, text) => `function<｜tool▁sep｜>${name}\n\`\`\`json\n${text}\n\`\`\``,
    "\n",
  ),
  "deepseek-v3.1": deepseek((name, text) => `${name}<｜tool▁sep｜>${text}`, ""),
  "kimi-k2": (calls) =>
    `<|tool_calls_section_begin|>${calls
      .map(
        (call, index) =>
          `<|tool_call_begin|>functions.${call.name}:${index}<|tool_call_argument_begin|>` +
          `${JSON.stringify(call.arguments)}<|tool_call_end|>`,
      )
      .join("")}<|tool_calls_section_end|>`,
  "glm-4.7": (calls) =>
    calls
      .map((call) => {
        const pairs = Object.entries(call.arguments).map(
          ([key, value]) => `<arg_key>${key}</arg_key><arg_value>${json(value)}</arg_value>`,
        );
        return `<tool_call>${call.name}${pairs.join("")}</tool_call>`;
      })
      .join("\n"),
  "deepseek-v3.2": dsml("function_calls"),
  "deepseek-v4": dsml("tool_calls"),
};

export const formats = Object.keys(written) as ToolCallFormat[];

export interface Answer {
  reasoning: string;
  content: string;
  calls: { name: string; id?: string; arguments: string }[];
}

/** What the deltas come to; throws where they break an answer's laws. */
export function gather(deltas: readonly OutputDelta[]): Answer {
  const answer: Answer = { reasoning: "", content: "", calls: [] };
  for (const delta of deltas) {
    if (delta.kind === "tool-call") {
      const { index, name, id } = delta;
      if (index !== answer.calls.length || name === "")
        throw new Error("a call has no name or place");
      answer.calls.push({ name, ...(id === undefined ? {} : { id }), arguments: "" });
    } else {
      if (delta.text === "") throw new Error("a delta says nothing");
      if (delta.kind !== "tool-arguments") answer[delta.kind] += delta.text;
      else if (delta.index !== answer.calls.length - 1) throw new Error("arguments of no call");
      else answer.calls[delta.index].arguments += delta.text;
    }
  }
  if (answer.calls.some((call) => call.arguments === "")) throw new Error("arguments are empty");
  return answer;
}

/** Every value that is a text is declared as one. */
export const toolsOf = (calls: readonly Call[]): ChatTool[] =>
  calls.map(({ name, arguments: given }) => {
    const properties = Object.entries(given).map(([key, value]) => [
      key,
      typeof value === "string" ? { type: "string" } : {},
    ]);
    const parameters = { type: "object", properties: Object.fromEntries(properties) as unknown };
    return { type: "function", function: { name, parameters } };
  });

/** The text in pieces of so many characters, in turn; markers stay whole. */
export function cut(tokenizer: Tokenizer, text: string, lengths: readonly number[]): string[] {
  let next = 0;
  return tokenizer.split(text).flatMap((segment) => {
    if (segment.special) return [segment.text];
    const characters = Array.from(segment.text);
    const pieces: string[] = [];
    while (characters.length > 0) {
      pieces.push(characters.splice(0, lengths[next++ % lengths.length]).join(""));
    }
    return pieces;
  });
}

/** Reads pieces, which must not cut a marker, one after the other. */
export function read(
  tokenizer: Tokenizer,
  pieces: readonly string[],
  options: Partial<OutputOptions> = {},
): Answer {
  const parser = new OutputParser(tokenizer, {
    startsInReasoning: false,
    toolCalls: undefined,
    ...options,
  });
  const tokens = pieces.flatMap((piece) => tokenizer.encode(piece, { specials: true }));
  return gather([...tokens.flatMap((token) => parser.push(token)), ...parser.end()]);
}
