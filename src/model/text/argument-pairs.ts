/** Arguments that a model writes as keys and values, as JSON. */
import type { ChatTool } from "./chat-message.ts";

/** Whether a function's parameter is a text, so that `7` is `"7"`. */
export type IsText = (key: string, value: string) => boolean;

/** What a function's schema says of a parameter that is written without quotes. */
export interface WrittenParameter {
  /** It is a text, whatever it looks like. */
  readonly isText: boolean;
  /** But for `null`, which is none. */
  readonly orNull: boolean;
  /** Texts among its values. */
  readonly values: readonly unknown[];
}

export function writtenParameter(parameters: unknown, key: string): WrittenParameter {
  const schema = parameters as { properties?: Record<string, unknown> } | undefined;
  const property = schema?.properties?.[key] as
    | { readonly type?: unknown; readonly enum?: unknown }
    | null
    | undefined;
  const types: readonly unknown[] = [property?.type].flat();
  const isText = types.includes("string");
  const values: readonly unknown[] = Array.isArray(property?.enum) ? property.enum : [];
  return { isText, orNull: isText && types.includes("null"), values: isText ? [] : values };
}

/** What a function's schema says of its parameters' types. */
export function textParameters(tools: readonly ChatTool[], name: string): IsText {
  const tool = tools.find((each) => each.function.name === name);
  return (key, value) => {
    const { isText, orNull, values } = writtenParameter(tool?.function.parameters, key);
    return isText ? !(orNull && value === "null") : values.includes(value);
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
