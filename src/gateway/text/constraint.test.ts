import assert from "node:assert/strict";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  Grammars,
  type GrammarSource,
  maskWithout,
  Tokenizer,
  TokenOrder,
} from "../../model/index.ts";
import { FollowedAnswer, type Follower, type Opened } from "./constraint.ts";
import { GrammarTable } from "./grammar-table.ts";
import { MaskWorker } from "./mask-worker.ts";

const calf = fileURLToPath(new URL("../../../models/calf", import.meta.url));
const tokenizer = await Tokenizer.load(calf);
const end = tokenizer.eos as number;
const endTokens = [end];
const [think, close] = ["<think>", "</think>"].map((tag) => tokenizer.specialId(tag) as number);
const encode = (text: string) => tokenizer.encode(text, { specials: true });
const has = (mask: Uint32Array | undefined, token: number) =>
  (((mask?.[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1;

const source: GrammarSource = { kind: "regex", pattern: "a{3}b*c" };
const grammars = new Grammars(new TokenOrder(tokenizer, endTokens));

/** What a mask worker does, without its process; it forgets everything when it is told to. */
class Desk implements Follower {
  readonly asked: string[] = [];
  forgets = false;
  #table = new GrammarTable(0, tokenizer);
  readonly #grammar = grammars.open(source);

  async open(_: GrammarSource, tokens: readonly number[]): Promise<Opened> {
    this.asked.push(`open ${tokenizer.decode(tokens)}`);
    this.#table = new GrammarTable(0, tokenizer);
    const state = tokens.reduce(
      (at, token) => this.#grammar.stateAfter(at, token),
      this.#grammar.start,
    );
    return {
      table: this.#table,
      start: this.#place(this.#grammar.start),
      place: this.#place(state),
    };
  }

  async follow(table: GrammarTable, state: number, token: number) {
    this.asked.push(tokenizer.decode([token]));
    if (this.forgets) return undefined;
    const place = this.#place(this.#grammar.stateAfter(state, token));
    table.learn(state, token, place, this.#grammar.stepsThrough(state, token));
    return place;
  }

  #place(state: number) {
    const place = this.#grammar.placeAt(state);
    for (const [number, mask] of this.#grammar.takeMasks()) masks.set(number, mask);
    for (const [number, mask] of masks) this.#table.addMask(number, mask);
    return place;
  }
}

const masks = new Map<number, Uint32Array>();

const thoughts = {
  ...{ startsInReasoning: false, mayThink: false, beginToken: think, endToken: close },
  mask: maskWithout(tokenizer, endTokens),
};

async function begin(desk: Desk, thinking: Partial<typeof thoughts> = {}): Promise<FollowedAnswer> {
  const opened = await desk.open(source, []);
  const first = opened.table.mask(opened.start);
  return new FollowedAnswer(
    source,
    opened,
    first,
    { ...thoughts, ...thinking },
    { follower: desk, endTokens },
  );
}

const [a, b, c] = ["a", "b", "c"].map((text) => encode(text)[0]);

test("an answer asks for what it has not heard, and ends with a token that ends it", async () => {
  const desk = new Desk();
  const one = await begin(desk);
  const told: (Uint32Array | undefined)[] = [];
  for (const token of [a, a, a, b, c]) told.push(await one.next(token));
  assert.ok(has(told[2], c) && has(told[2], b) && !has(told[2], a));
  assert.ok(has(told[4], end));
  assert.equal(await one.next(end), undefined);
  assert.deepEqual(desk.asked, ["open ", "a", "a", "a", "b", "c"]);
});

test("a second answer of the same table asks for nothing that was heard, and gets the same masks", async () => {
  const desk = new Desk();
  const opened = await desk.open(source, []);
  const first = opened.table.mask(opened.start);
  const answers = [0, 1].map(
    () => new FollowedAnswer(source, opened, first, thoughts, { follower: desk, endTokens }),
  );
  for (const token of [a, a, a, b, c]) {
    const one = await answers[0].next(token);
    const asked = desk.asked.length;
    const other = answers[1].next(token);
    assert.ok(!(other instanceof Promise), "known at once");
    assert.equal(other, one);
    assert.equal(desk.asked.length, asked);
  }
});

test("tokens that must come are known ahead, and those told together are taken in their order", async () => {
  const desk = new Desk();
  const opened = await desk.open(source, []);
  const first = opened.table.mask(opened.start);
  const begun = () =>
    new FollowedAnswer(source, opened, first, thoughts, { follower: desk, endTokens });
  const one = begun();
  const asked = [a, a, a, c].map(async (token) => one.next(token));
  const told = await Promise.all(asked);
  assert.ok(has(told[3], end) && !has(told[3], c));
  assert.deepEqual(one.ahead([]), []);
  const other = begun();
  assert.equal(await other.next(a), told[0]);
  // After the second there is a choice: tokens may end in `ab`.
  assert.deepEqual(other.ahead([]), [{ token: a, mask: told[1] }]);
});

test("an answer whose grammar is forgotten goes on from all of its tokens", async () => {
  const desk = new Desk();
  const answer = await begin(desk);
  for (const token of [a, a]) await answer.next(token);
  desk.forgets = true;
  const mask = await answer.next(a);
  assert.equal(desk.asked.at(-1), "open aaa");
  assert.ok(has(mask, b) && has(mask, c) && !has(mask, a));
  desk.forgets = false;
  assert.ok(has(await answer.next(c), end));
});

test("thoughts are free until they close, and an answer does not end in them", async () => {
  const thinking = await begin(new Desk(), { startsInReasoning: true });
  for (const token of encode("words } [")) {
    const mask = await thinking.next(token);
    assert.ok(has(mask, b) && has(mask, close) && !has(mask, end));
  }
  const behind = await thinking.next(close);
  assert.ok(has(behind, a) && !has(behind, b) && !has(behind, think));
  const free = await begin(new Desk(), { mayThink: true });
  assert.ok(has(await free.next(think), b));
  const plain = await begin(new Desk(), { mayThink: true });
  assert.ok(!has(await plain.next(a), b), "an answer that has begun thinks no more");
});

test("the worker's process says the same, and refuses by the field or by the function", async () => {
  const worker = new MaskWorker({ vocabulary: tokenizer.tables, endTokens });
  after(() => worker.close());
  const none = { startsInReasoning: false, mayThink: true };
  const wanted = { source, param: "regex", thinking: none, answers: 2 };
  const stays = new AbortController().signal;
  const [one, other] = await worker.open(wanted, stays);
  assert.ok(has(one.first, think) && has(one.first, a));
  for (const token of [a, a, a]) await one.next(token);
  const known = await one.next(b);
  for (const token of [a, a, a]) await other.next(token);
  assert.equal(await other.next(b), known);
  const refused = (asked: GrammarSource) => worker.open({ ...wanted, source: asked }, stays);
  await assert.rejects(refused({ kind: "regex", pattern: "(" }), { param: "regex" });
  const functions = [{ name: "f g", parameters: true, isStrict: false }];
  const calls = { kind: "calls", format: "deepseek-v3", functions, parallel: true } as const;
  await assert.rejects(refused(calls), { param: "tools" });
});
