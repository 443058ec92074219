/** What a chat template makes of conversations, found out by trying: its source says it in too many ways. */
import { composeDeepseek, deepseekFamilies, type DeepseekFamily } from "./chat-families.ts";
import { type HistoryMessage, normaliseHistory } from "./chat-history.ts";
import type { JinjaHabits, JinjaTemplate } from "./chat-jinja.ts";
import type { ChatMessage } from "./chat-message.ts";
import { toValue } from "./jinja-values.ts";

export interface TemplateHabits extends JinjaHabits {
  /** Between two parts of one text. */
  readonly partSeparator: string;
  /** Describes the tools that are offered. */
  readonly tellsTools: boolean;
}

const PROBE = "daysix_probe";
const ARGUMENTS = `{"${PROBE}":1}`;
const user = { role: "user", content: "a" };

const calling = (content: string | null, given: unknown = {}) => ({
  role: "assistant",
  content,
  tool_calls: [{ id: "b", type: "function", function: { name: "c", arguments: given } }],
});

export function habitsOf(template: JinjaTemplate): TemplateHabits {
  /** Undefined where the template does not say it. */
  const say = (messages: readonly object[], tools?: readonly object[]): string | undefined => {
    try {
      const tried = { messages, ...(tools ? { tools } : {}), add_generation_prompt: true };
      return template.render(
        new Map(Object.entries(tried).map(([name, each]) => [name, toValue(each)])),
      );
    } catch {
      return undefined;
    }
  };
  const parts = ["d", "e"].map((text) => ({ type: "text", text: PROBE + text }));
  const separated = new RegExp(`${PROBE}d(\\s*)${PROBE}e`).exec(
    say([{ role: "user", content: parts }]) ?? "",
  );
  const nothing = say([user, calling(null)]) ?? say([user, calling(null, "{}")]) ?? "None";
  const tool = { type: "function", function: { name: PROBE, description: "", parameters: {} } };
  return {
    argumentsAsText: ["", null].some((content) =>
      say([user, calling(content, ARGUMENTS)])?.includes(ARGUMENTS),
    ),
    noContent: nothing.includes("None") ? "" : null,
    partSeparator: separated?.[1] ?? "\n",
    tellsTools: say([user], [tool])?.includes(PROBE) ?? false,
  };
}

/** Without the spaces that Python's JSON would have. */
const call = (id: string) => ({ id, function: { name: "f", arguments: `{"a":${id}}` } });
const plain: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "1+1?" },
  { role: "assistant", content: "easy</think>2" },
  { role: "user", content: "Sure?" },
];
const rounds: readonly ChatMessage[] = [
  { role: "assistant", tool_calls: [call("1"), call("2")] },
  { role: "tool", tool_call_id: "1", content: "3" },
  { role: "tool", tool_call_id: "2", content: "4" },
  { role: "assistant", content: "7" },
  { role: "user", content: "And?" },
  { role: "assistant", tool_calls: [call("5")] },
  { role: "tool", tool_call_id: "5", content: "6" },
];

/**
 * The family whose prompts are the template's own, in conversations with calls too unless it says none. Undefined where
 * the template is another, if only by a word.
 */
export function familyOf(
  template: JinjaTemplate,
  habits: JinjaHabits,
  saysCalls: boolean,
): DeepseekFamily | undefined {
  const style = { partSeparator: "\n", callId: undefined };
  const conversations = [plain.slice(1, 2), plain, ...(saysCalls ? [[...plain, ...rounds]] : [])];
  const histories = conversations.map((messages) => normaliseHistory(messages, style));
  const agrees = (
    family: DeepseekFamily,
    history: readonly HistoryMessage[],
    thinking: boolean,
  ) => {
    const shared = { history, tools: [], continues: false };
    const ours = composeDeepseek(family, { ...shared, thinking });
    const variables = { thinking, enable_thinking: thinking };
    try {
      const theirs = template.compose({ ...shared, toolSection: [], variables }, habits);
      return textOf(ours) === textOf(theirs);
    } catch {
      return false;
    }
  };
  return deepseekFamilies.find((family) =>
    histories.every((history) =>
      [false, true].every((thinking) => agrees(family, history, thinking)),
    ),
  );
}

const textOf = (segments: readonly { readonly text: string }[]) =>
  segments.map(({ text }) => text).join("");
