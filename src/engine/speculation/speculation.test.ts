import assert from "node:assert/strict";
import { test } from "node:test";
import { randomSource } from "../../kernels/index.ts";
import { countOf } from "./proposal.ts";
import { Speculation } from "./speculation.ts";

/** A machine on which a step's time is known, and sequences whose guesses are right by chance. */
class Machine {
  now = 0;
  tokens = 0;
  proposed = 0;
  /** That a guess is right. */
  chance: number;
  readonly #cost: (rows: number) => number;
  readonly #sequences: { tokens: Uint32Array }[];
  readonly #random = randomSource(7);
  readonly #speculation: Speculation<{ tokens: Uint32Array }>;
  readonly #pass: number | undefined;

  /** `pass`: what it takes to draft a token for each sequence, where they are not guessed. */
  constructor(sequences: number, chance: number, cost: (rows: number) => number, pass?: number) {
    this.chance = chance;
    this.#cost = cost;
    this.#pass = pass;
    this.#sequences = Array.from({ length: sequences }, () => ({ tokens: new Uint32Array(0) }));
    const guessed = (most: number) => (pass === undefined ? Array<number>(most).fill(1) : []);
    const guess = { propose: (_: Uint32Array, most: number) => guessed(most) };
    this.#speculation = new Speculation(
      () => guess,
      () => this.now,
      { drafts: pass !== undefined },
    );
  }

  /** Tokens a millisecond, over what one row of each sequence would make. */
  run(tokens: number): number {
    const began = { now: this.now, tokens: this.tokens };
    while (this.tokens < began.tokens + tokens) this.#step();
    const plain = this.#sequences.length / this.#cost(this.#sequences.length);
    return (this.tokens - began.tokens) / (this.now - began.now) / plain;
  }

  #step(): void {
    const proposals = this.#speculation.propose(this.#sequences, 512);
    const rows = proposals.reduce<number>((sum, each) => sum + 1 + countOf(each), 0);
    const passes = Math.max(...proposals.map((each) => (typeof each === "number" ? each : 0)));
    for (let pass = 0; pass < passes; pass++) {
      this.now += this.#pass ?? 0;
      this.#speculation.endPass(proposals.length);
    }
    this.now += this.#cost(rows) * (1 + 0.2 * this.#random());
    this.#speculation.endStep(rows);
    proposals.forEach((proposal, i) => {
      const count = countOf(proposal);
      const chosen: number[] = [];
      do chosen.push(this.#random() < this.chance ? 1 : 0);
      while (chosen.at(-1) === 1 && chosen.length <= count);
      const isDrafted = typeof proposal === "number";
      const proposed = isDrafted ? Array<number>(count).fill(1) : proposal;
      this.#speculation.learn(this.#sequences[i], chosen, proposed, isDrafted);
      this.tokens += chosen.length;
      this.proposed += count;
    });
  }
}

/** Two rows take 1.49 times as long as one, four 2.2 times, as where a row's experts are read for it. */
const reading = (rows: number) => 50 * (0.51 + 0.49 * rows ** 0.9);
/** Rows cost next to nothing. */
const idle = (rows: number) => 50 + 0.5 * rows;
/** Rows cost all there is. */
const busy = (rows: number) => 50 * rows;

/** By how much a machine whose own work varies by a fifth is slower than its best time. */
const NOISE = 1.1;

test("guesses are computed as far as they are likely and rows are cheap", () => {
  const speedup = (chance: number, cost: (rows: number) => number) =>
    new Machine(1, chance, cost).run(512) * NOISE;
  assert.ok(speedup(0.9, reading) > 1.3, "likely, and rows cost half a step");
  assert.ok(speedup(0.7, reading) > 1.08);
  assert.ok(speedup(0.9, idle) > 5, "likely, and rows cost nothing");
  assert.ok(speedup(0.3, idle) > 1.2, "of at most 1.43");
});

test("what does not pay is not done, but for a look now and then", () => {
  for (const [chance, cost] of [
    [0.5, reading],
    [0.2, reading],
    [0.9, busy],
    [0, idle],
  ] as const) {
    const machine = new Machine(1, chance, cost);
    const ratio = machine.run(512) * NOISE;
    assert.ok(ratio > 0.97, `${chance}: ${ratio}`);
  }
});

test("a chance that collapses is seen within a few tokens, and one that comes back too", () => {
  const machine = new Machine(1, 0.95, reading);
  assert.ok(machine.run(256) * NOISE > 1.4);
  machine.chance = 0;
  assert.ok(machine.run(256) * NOISE > 0.96, "hardly slower than without");
  const { proposed } = machine;
  machine.run(256);
  assert.ok(machine.proposed - proposed < 10, "it stays off");
  machine.chance = 0.95;
  assert.ok(machine.run(256) * NOISE > 1.3);
});

test("a batch that fills the machine is left alone, one that does not is filled up", () => {
  const roomy = (rows: number) => 50 + 50 * Math.max(0, rows - 16);
  const full = new Machine(16, 0.8, roomy);
  full.run(4000);
  assert.ok(full.proposed < 0.03 * full.tokens);
  assert.ok(new Machine(4, 0.8, roomy).run(2000) * NOISE > 2);
});

test("as many tokens are drafted as are worth their passes", () => {
  const speedup = (chance: number, pass: number) =>
    new Machine(1, chance, idle, pass).run(2000) * NOISE;
  assert.ok(speedup(0.9, 2) > 3, "a pass costs little");
  assert.ok(speedup(0.8, 15) > 1.25, "a pass costs a third of a step: at most 1.41");
  for (const [chance, pass] of [
    [0, 15],
    [0.3, 25],
    [0.9, 100],
  ]) {
    const machine = new Machine(1, chance, idle, pass);
    const ratio = machine.run(512) * NOISE;
    assert.ok(ratio > 0.97, `${chance}: ${ratio}`);
    assert.ok(machine.proposed < 0.1 * machine.tokens, `${machine.proposed} of ${machine.tokens}`);
  }
});

test("drafting that was worth nothing is tried again", () => {
  const machine = new Machine(1, 0, idle, 15);
  machine.run(500);
  machine.chance = 0.9;
  machine.run(4000);
  assert.ok(machine.run(500) * NOISE > 1.4);
});

test("guesses come first, drafts where there are none or they are less likely", () => {
  const sequence = { tokens: new Uint32Array(0) };
  let guessed: number[] = [];
  let now = 0;
  const speculation = new Speculation(
    () => ({ propose: () => guessed }),
    () => now,
    { drafts: true },
  );
  const step = (chosen: number[], rightDrafts: boolean) => {
    const [proposal] = speculation.propose([sequence], 512);
    if (typeof proposal === "number" && proposal > 0) speculation.endPass(1);
    now += 10;
    speculation.endStep(1 + countOf(proposal));
    if (typeof proposal !== "number") speculation.learn(sequence, chosen, proposal, false);
    else {
      const drafts = chosen.slice(0, proposal).map((token) => (rightDrafts ? token : token + 1));
      speculation.learn(sequence, chosen, drafts, true);
    }
    return typeof proposal;
  };
  const many = (guesses: number[], isRight: boolean) => {
    guessed = guesses;
    return Array.from({ length: 40 }, () => step([5, 6, 7], isRight)).at(-1);
  };
  assert.equal(many([5, 6, 7], true), "object", "guesses are right");
  assert.equal(many([], true), "number", "there are none");
  assert.equal(many([1, 2, 3], true), "number", "guesses are wrong, drafts right");
  assert.equal(many([5, 6, 7], false), "object", "and the other way round");
});

test("a step that failed says nothing of what the next one costs", () => {
  let now = 0;
  const sequence = { tokens: new Uint32Array(0) };
  const guess = { propose: () => [1, 1, 1, 1] };
  const speculation = new Speculation(
    () => guess,
    () => now,
  );
  speculation.propose([sequence], 512);
  speculation.endStep(0);
  // A prompt chunk: nobody was asked for proposals.
  now += 1000;
  speculation.endStep(300);
  assert.deepEqual(speculation.propose([sequence], 512), [[]], "nothing is known yet");
});

test("where nothing comes near being worth its rows, little is looked up", () => {
  const sequence = { tokens: new Uint32Array(0) };
  let [now, looked] = [0, 0];
  const propose = () => {
    looked++;
    return [1, 1];
  };
  const speculation = new Speculation(
    () => ({ propose }),
    () => now,
  );
  const steps = (chosen: readonly number[]) => {
    looked = 0;
    for (let i = 0; i < 100; i++) {
      const [proposal] = speculation.propose([sequence], 512) as number[][];
      now += 10 + proposal.length;
      const right = chosen.slice(0, proposal.length + 1);
      speculation.learn(sequence, right, proposal, false);
      speculation.endStep(1 + proposal.length);
    }
    return looked;
  };
  steps([0]);
  assert.ok(steps([0]) <= 30);
  steps([1, 1, 1]);
  assert.equal(steps([1, 1, 1]), 100);
});

test("what is to be done before a pass is not taken for its cost", () => {
  const sequence = { tokens: new Uint32Array(0) };
  let now = 0;
  const speculation = new Speculation(
    () => ({ propose: () => [] }),
    () => now,
    { drafts: true },
  );
  let drafted = 0;
  for (let i = 0; i < 400; i++) {
    const [proposal] = speculation.propose([sequence], 512);
    const count = countOf(proposal);
    if (count > 0) {
      now += 500;
      speculation.endPass(0);
    }
    for (let pass = 0; pass < count; pass++) {
      now += 1;
      speculation.endPass(1);
    }
    now += 10;
    const tokens = Array<number>(count).fill(1);
    speculation.learn(sequence, [...tokens, 1], tokens, true);
    speculation.endStep(1 + count);
    drafted += count;
  }
  assert.ok(drafted > 1000, `${drafted}`);
});
