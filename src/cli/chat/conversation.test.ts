import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Conversation } from "./conversation.ts";
import { startEchoServer } from "./server-fixtures.ts";

const server = await startEchoServer();
after(() => server.close());

for (const cut of ["break", "end early"]) {
  test(`an answer that is cut in its stream has failed, and is not kept: ${cut}`, async () => {
    const settings = { model: "echo", system: undefined, thinking: true };
    const chat = new Conversation(
      { url: server.url },
      { ...settings, temperature: undefined, seed: undefined },
      () => 0,
    );
    const asked = async () => {
      for await (const piece of chat.ask(cut)) assert.ok(piece.text);
    };
    await assert.rejects(asked(), { message: "the connection was lost before the answer's end" });
    assert.deepEqual(chat.messages, []);
  });
}
