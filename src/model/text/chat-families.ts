/**
 * Prompts of DeepSeek's chat models. A conversation becomes segments: the format's markers, and everybody's words as
 * plain text. Shapes, with B = begin of sentence, E = end of sentence, U = <｜User｜>, A = <｜Assistant｜>:
 *
 *   V3, R1-0528   B{system}U{question}A{answer}E U…A            (R1-0528 itself begins with <think>)
 *   R1            the same, ending in A<think>\n
 *   V3.1          B{system}U{question}A</think>{answer}E U…A<think> or A</think>
 *
 * Past thoughts are left out. Following DeepSeek's published templates, except that several rounds of tool calls are
 * each opened and closed.
 */
import {
  type ChatTool,
  type Conversation,
  readConversation,
  spacedJson,
  type ChatMessage,
  type Turn,
} from "./chat-message.ts";
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
const THINK: Segment = { text: "<think>", special: true };
const END_THINK: Segment = { text: "</think>", special: true };

/** The whole prompt, up to where the model goes on. @throws ChatTemplateError */
export function composeDeepseek(
  family: DeepseekFamily,
  messages: readonly ChatMessage[],
  tools: readonly ChatTool[],
  thinking: boolean,
): Segment[] {
  const conversation = readConversation(messages);
  const head = [BEGIN, text(conversation.system), ...toolSection(family, tools)];
  return family === "deepseek-v3.1"
    ? [...head, ...turnsV31(conversation, thinking)]
    : [...head, ...turnsV3(conversation, family)];
}

function turnsV3({ turns }: Conversation, family: DeepseekFamily): Segment[] {
  const segments: Segment[] = [];
  let afterTool = false;
  for (const turn of turns) {
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
        segments.push(text(answer ?? ""), ...callsV3(turn), END);
      }
    }
    afterTool = turn.role === "tool";
  }
  if (afterTool) return [...segments, OUTPUTS_END];
  if (family === "deepseek-r1") return [...segments, ASSISTANT, THINK, text("\n")];
  return [...segments, ASSISTANT];
}

function callsV3({ calls }: Turn): Segment[] {
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

function turnsV31({ turns }: Conversation, thinking: boolean): Segment[] {
  const segments: Segment[] = [];
  let last: Turn["role"] | undefined;
  for (const turn of turns) {
    if (turn.role === "tool") segments.push(OUTPUT_BEGIN, text(turn.content), OUTPUT_END);
    else if (turn.role === "user") segments.push(USER, text(turn.content));
    else {
      const thought = turn.content.indexOf("</think>");
      const answer = thought < 0 ? turn.content : turn.content.slice(thought + "</think>".length);
      if (last === "user" || last === undefined) segments.push(ASSISTANT, END_THINK);
      segments.push(text(answer), ...callsV31(turn), END);
    }
    last = turn.role;
  }
  if (last === "tool") return segments;
  return [...segments, ASSISTANT, thinking ? THINK : END_THINK];
}

function callsV31({ calls }: Turn): Segment[] {
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
function toolSection(family: DeepseekFamily, tools: readonly ChatTool[]): Segment[] {
  if (tools.length === 0) return [];
  const described = tools.map((tool, index) => {
    const { name, description, parameters } = tool.function;
    const schema = spacedJson(parameters ?? {}, `tools[${index}].function.parameters`);
    return `### ${name}\nDescription: ${description ?? ""}\n\nParameters: ${schema}\n\n`;
  });
  const bare = family === "deepseek-v3.1";
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
