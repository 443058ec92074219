import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Grammars, type GrammarSource, Tokenizer, TokenOrder } from "../../model/index.ts";
import type { CreateMaskChild, MaskListener } from "./mask-child.ts";
import { MaskDesk } from "./mask-desk.ts";
import type { MaskReport } from "./mask-messages.ts";
import { MaskWorker } from "./mask-worker.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const tokenizer = await Tokenizer.load(calf);
const endTokens = [tokenizer.eos as number];
const order = new TokenOrder(tokenizer, endTokens);
const encode = (text: string) => tokenizer.encode(text, { specials: true });
const has = (mask: Uint32Array | undefined, token: number) =>
  (((mask?.[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1;

const asked = {
  source: { kind: "regex", pattern: "a{3}b*c" } satisfies GrammarSource,
  param: "regex",
  thinking: { startsInReasoning: false, mayThink: false },
  answers: 1,
};
const stays = new AbortController().signal;

/** A worker whose children live in this process; `change` has the last word on their reports. */
function begin(change = (report: MaskReport) => report) {
  const children: MaskListener[] = [];
  const kinds: string[] = [];
  const createChild: CreateMaskChild = (_, listener) => {
    const child = children.push(listener);
    const desk = new MaskDesk(new Grammars(order), ({ reports, ...news }) => {
      if (children.length === child) listener.report({ reports: reports.map(change), ...news });
    });
    return {
      post(tasks) {
        kinds.push(...tasks.map((task) => `${task.kind} in ${child}`));
        setImmediate(() => desk.hear(tasks));
      },
      hold() {},
      kill() {},
    };
  };
  const worker = new MaskWorker({ vocabulary: tokenizer.tables, endTokens }, { createChild });
  return { worker, kinds, endChild: () => children.at(-1)?.ended("was killed") };
}

test("an answer goes on when the process that follows it ends, from its own tokens", async () => {
  const { worker, kinds, endChild } = begin();
  const [answer] = await worker.open(asked, stays);
  const [a, b, c] = ["a", "b", "c"].map((text) => encode(text)[0]);
  await answer.next(a);
  endChild();
  await answer.next(a);
  const coming = Promise.resolve(answer.next(a));
  endChild();
  const mask = await coming;
  assert.ok(has(mask, b) && has(mask, c) && !has(mask, a));
  assert.ok(has(await answer.next(c), endTokens[0]));
  assert.deepEqual(kinds.slice(0, 3), ["open in 1", "follow in 1", "open in 2"]);
  assert.equal(kinds.at(-1), "follow in 3");
});

test("what is too long or nested too deep for those who read it is refused by its field", async () => {
  const { worker } = begin();
  const nested = `${"(".repeat(50_000)}a${")".repeat(50_000)}`;
  const sources: GrammarSource[] = [
    { kind: "regex", pattern: nested },
    { kind: "json", schema: { pattern: nested } },
    { kind: "choice", texts: ["a".repeat(200_000)] },
  ];
  for (const source of sources) {
    await assert.rejects(worker.open({ ...asked, source }, stays), {
      ...{ status: 400, param: "regex", code: "unsupported_value" },
      message: "regex: it is too long, or nested too deep, to be followed",
    });
  }
  const [answer] = await worker.open(asked, stays);
  await answer.next(encode("a")[0]);
});

test("an answer that is too long for any grammar fails by its field, after one new beginning", async () => {
  const spent = (report: MaskReport): MaskReport => {
    if (report.kind === "opened") return { ...report, isFull: true };
    return report.kind === "place" ? { kind: "spent", id: report.id } : report;
  };
  const { worker, kinds } = begin(spent);
  const [answer] = await worker.open(asked, stays);
  const [a] = encode("a");
  await answer.next(a);
  await assert.rejects(Promise.resolve(answer.next(a)), {
    message: /^regex: .*counts too far$/,
  });
  assert.deepEqual(kinds, ["open in 1", "follow in 1", "open in 1", "follow in 1"]);
});
