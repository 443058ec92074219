import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load, textOf } from "./chat-fixtures.ts";
import type { ChatMessage, ChatTool } from "./chat-message.ts";
import type { RenderOptions } from "./chat-template.ts";
import { repositoryRoot } from "../fixtures.ts";

const folder = join(repositoryRoot, "fixtures/chat-templates");
const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));
const { tools, conversations } = read("conversations.json") as {
  readonly tools: ChatTool[];
  readonly conversations: Record<
    string,
    { readonly messages: ChatMessage[]; readonly tools?: boolean; readonly options?: RenderOptions }
  >;
};
const rendered = read("rendered.json") as Record<string, Record<string, string | undefined>>;
const names = readdirSync(join(folder, "templates")).map((file) => file.replace(".jinja", ""));

test("every template renders every conversation as Python's Jinja does", async () => {
  for (const name of names) {
    const source = readFileSync(join(folder, `templates/${name}.jinja`), "utf8");
    const template = await load(source);
    for (const [title, { messages, tools: offers, options }] of Object.entries(conversations)) {
      const expected = rendered[name][title];
      if (expected === undefined) continue;
      // What Python renders has no description of tools where the template has none.
      const offered = offers && source.includes("tools") ? { tools } : {};
      const text = textOf(template, messages, { ...options, ...offered });
      assert.equal(text, expected, `${name}: ${title}`);
    }
  }
});
