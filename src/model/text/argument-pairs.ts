/** Arguments that a model writes as keys and values, as JSON. */
import type { ChatTool } from "./chat-message.ts";

/** Whether a function's parameter is a text, so that `7` is `"7"`. */
export type IsText = (key: string, value: string) => boolean;

/** What a function's schema says of its parameters' types. */
export function textParameters(tools: readonly ChatTool[], name: string): IsText {
  const tool = tools.find((each) => each.function.name === name);
  const schema = tool?.function.parameters as { properties?: Record<string, unknown> } | undefined;
  return (key, value) => {
    const property = schema?.properties?.[key] as
      | { readonly type?: unknown; readonly enum?: unknown }
      | null
      | undefined;
    const types: readonly unknown[] = [property?.type].flat();
    if (types.includes("string")) return !(types.includes("null") && value === "null");
    return Array.isArray(property?.enum) && property.enum.includes(value);
  };
}

/** Undefined where the text is anything else than pairs. `pair` is sticky. */
export function pairsToJson(text: string, pair: RegExp, isText: IsText): string | undefined {
  const members: string[] = [];
  pair.lastIndex = 0;
  for (let at = 0; at < text.length; at = pair.lastIndex) {
    const { key, value, string } = pair.exec(text)?.groups ?? {};
    if (key === undefined || value === undefined) return undefined;
    const asText = string === "true" || (string === undefined && isText(key, value));
    members.push(`${JSON.stringify(key.trim())}:${asText ? JSON.stringify(value) : toJson(value)}`);
  }
  return `{${members.join(",")}}`;
}

/** JSON stays as it is written, with every digit; what is none is a text. */
function toJson(value: string): string {
  try {
    JSON.parse(value);
    return value.trim();
  } catch {
    return JSON.stringify(value);
  }
}
