/**
 * Prompts of DeepSeek's chat models. A conversation becomes segments: the format's markers, and everybody's words as
 * plain text. Shapes, with B = begin of sentence, E = end of sentence, U = <｜User｜>, A = <｜Assistant｜>:
 *
 *   V3, R1-0528   B{system}U{question}A{answer}E U…A            (R1-0528 itself begins with <think>)
 *   R1            the same, ending in A<think>\n
 *   V3.1          B{system}U{question}A</think>{answer}E U…A<think> or A</think>
 *
 * Past thoughts are left out. Used where a folder's own template says the same (chat-habits.ts): it has a place for
 * tools where that has none.
 */
import type { HistoryMessage } from "./chat-history.ts";
import { type ChatTool, spacedJson } from "./chat-message.ts";
import type { Segment } from "./tokenizer.ts";

export const deepseekFamilies = [
  "deepseek-v3",
  "deepseek-r1",
  "deepseek-r1-0528",
  "deepseek-v3.1",
] as const;
export type DeepseekFamily = (typeof deepseekFamilies)[number];

const marker = (name: string): Segment => ({ text: `<｜${name}｜>`, special: true });
const text = (content: string): Segment => ({ text: content, special: false });

const BEGIN = marker("begin▁of▁sentence");
const END = marker("end▁of▁sentence");
const USER = marker("User");
const ASSISTANT = marker("Assistant");
const CALLS_BEGIN = marker("tool▁calls▁begin");
const CALLS_END = marker("tool▁calls▁end");
const CALL_BEGIN = marker("tool▁call▁begin");
const CALL_END = marker("tool▁call▁end");
const OUTPUTS_BEGIN = marker("tool▁outputs▁begin");
const OUTPUTS_END = marker("tool▁outputs▁end");
const OUTPUT_BEGIN = marker("tool▁output▁begin");
const OUTPUT_END = marker("tool▁output▁end");
const SEPARATOR = marker("tool▁sep");
export type DeepseekCalls = "deepseek-v3" | "deepseek-v3.1";

const THINK: Segment = { text: "<think>", special: true };
const END_THINK: Segment = { text: "</think>", special: true };

export interface DeepseekPrompt {
  readonly history: readonly HistoryMessage[];
  readonly tools: readonly ChatTool[];
  readonly thinking: boolean;
  /** The last message is the beginning of the answer. */
  readonly continues: boolean;
}

export const callsOf = (family: DeepseekFamily): DeepseekCalls =>
  family === "deepseek-v3.1" ? "deepseek-v3.1" : "deepseek-v3";

/** The whole prompt, up to where the model goes on. @throws ChatTemplateError */
export function composeDeepseek(family: DeepseekFamily, prompt: DeepseekPrompt): Segment[] {
  const { history, tools } = prompt;
  const system = history.filter(({ role }) => role === "system").map(({ content }) => content);
  const turns = history.filter(({ role }) => role !== "system");
  const head = [BEGIN, text(system.join("\n\n")), ...toolSection(callsOf(family), tools)];
  return family === "deepseek-v3.1"
    ? [...head, ...turnsV31(turns, prompt)]
    : [...head, ...turnsV3(turns, family, prompt)];
}

function turnsV3(
  turns: readonly HistoryMessage[],
  family: DeepseekFamily,
  { continues }: DeepseekPrompt,
): Segment[] {
  const segments: Segment[] = [];
  let afterTool = false;
  for (const [index, turn] of turns.entries()) {
    if (turn.role === "tool") {
      segments.push(afterTool ? text("\n") : OUTPUTS_BEGIN);
      segments.push(OUTPUT_BEGIN, text(turn.content), OUTPUT_END);
    } else {
      if (afterTool) segments.push(OUTPUTS_END);
      if (turn.role === "user") segments.push(USER, text(turn.content));
      else {
        const answer =
          family === "deepseek-v3" ? turn.content : turn.content.split("</think>").at(-1);
        if (!afterTool) segments.push(ASSISTANT);
        if (continues && index === turns.length - 1) return [...segments, ...begun(turn)];
        segments.push(text(answer ?? ""), ...callsV3(turn), END);
      }
    }
    afterTool = turn.role === "tool";
  }
  if (afterTool) return [...segments, OUTPUTS_END];
  if (family === "deepseek-r1") return [...segments, ASSISTANT, THINK, text("\n")];
  return [...segments, ASSISTANT];
}

/** An answer that goes on: from its words, or from its thoughts where there are no words yet. */
function begun({ thoughts, content }: HistoryMessage, tag?: Segment): Segment[] {
  if (thoughts === undefined) return [...(tag ? [tag] : []), text(content)];
  return [THINK, text(thoughts), ...(content === "" ? [] : [END_THINK, text(content)])];
}

function callsV3({ calls }: HistoryMessage): Segment[] {
  if (calls.length === 0) return [];
  const each = calls.flatMap((call, index) => [
    ...(index > 0 ? [text("\n")] : []),
    ...callV3(call.name, call.arguments),
  ]);
  return [CALLS_BEGIN, ...each, CALLS_END];
}

const callV3 = (name: string, json: string): Segment[] => [
  CALL_BEGIN,
  text("function"),
  SEPARATOR,
  text(`${name}\n\`\`\`json\n${json}\n\`\`\``),
  CALL_END,
];

function turnsV31(
  turns: readonly HistoryMessage[],
  { thinking, continues }: DeepseekPrompt,
): Segment[] {
  const segments: Segment[] = [];
  const tag = thinking ? THINK : END_THINK;
  let last: HistoryMessage["role"] | undefined;
  for (const [index, turn] of turns.entries()) {
    if (turn.role === "tool") segments.push(OUTPUT_BEGIN, text(turn.content), OUTPUT_END);
    else if (turn.role === "user") segments.push(USER, text(turn.content));
    else {
      const thought = turn.content.indexOf("</think>");
      const answer = thought < 0 ? turn.content : turn.content.slice(thought + "</think>".length);
      const begins = last === "user" || last === undefined;
      if (begins) segments.push(ASSISTANT);
      if (continues && index === turns.length - 1) {
        return [...segments, ...begun(turn, begins ? tag : undefined)];
      }
      if (begins) segments.push(END_THINK);
      segments.push(text(answer), ...callsV31(turn), END);
    }
    last = turn.role;
  }
  return last === "tool" ? segments : [...segments, ASSISTANT, tag];
}

function callsV31({ calls }: HistoryMessage): Segment[] {
  if (calls.length === 0) return [];
  const each = calls.flatMap((call) => callV31(call.name, call.arguments));
  return [CALLS_BEGIN, ...each, CALLS_END];
}

const callV31 = (name: string, json: string): Segment[] => [
  CALL_BEGIN,
  text(name),
  SEPARATOR,
  text(json),
  CALL_END,
];

/** The tools, as V3.1's model card describes them to the model; for the others with their own call format. */
export function toolSection(format: DeepseekCalls, tools: readonly ChatTool[]): Segment[] {
  if (tools.length === 0) return [];
  const described = tools.map((tool, index) => {
    const { name, description, parameters } = tool.function;
    const schema = spacedJson(parameters ?? {}, `tools[${index}].function.parameters`);
    return `### ${name}\nDescription: ${description ?? ""}\n\nParameters: ${schema}\n\n`;
  });
  const bare = format === "deepseek-v3.1";
  const call = bare ? callV31 : callV3;
  return [
    text(`\n\n## Tools\nYou have access to the following tools:\n\n${described.join("")}`),
    text("IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"),
    CALLS_BEGIN,
    ...call("tool_call_name", "tool_call_arguments"),
    text("{additional_tool_calls}"),
    CALLS_END,
    text(
      "\n\nWhere:\n" +
        "- `tool_call_name` must be an exact match to one of the available tools\n" +
        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n" +
        `- For multiple tool calls, chain them ${bare ? "directly without separators or spaces" : "with a newline between two"}`,
    ),
  ];
}
