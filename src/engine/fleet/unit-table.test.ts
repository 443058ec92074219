import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseTopology, type UnitRole } from "../../cluster/index.ts";
import { UnitTable, type UnitAction, type UnitLife } from "./unit-table.ts";

const tableOf = (topology: string, nodes: number | readonly number[], sharesExperts = true) =>
  new UnitTable({ topology: parseTopology(topology), nodes, sharesExperts });

const placesOf = (units: readonly UnitLife[]) =>
  units.map(
    ({ role, ranks, state }) => `${role} ${state} ${ranks.map(({ node }) => node).join("")}`,
  );

/** A table whose actions all succeed at once. */
class Scene {
  readonly table: UnitTable;
  readonly done: UnitAction["kind"][] = [];
  now = 0;

  constructor(table: UnitTable, nodes: number) {
    this.table = table;
    for (let node = 0; node < nodes; node++) table.join(node);
    this.settle();
  }

  settle(): string[] {
    for (let actions = this.table.act(this.now); actions.length > 0;) {
      for (const action of actions) this.#succeed(action);
      actions = this.table.act(this.now);
    }
    return placesOf(this.table.units);
  }

  later(milliseconds: number): string[] {
    this.now += milliseconds;
    return this.settle();
  }

  lose(node: number): string[] {
    this.table.leave(node);
    const ranks = this.table.units.flatMap((unit) => unit.ranks);
    for (const each of ranks) if (each.node === node) this.table.lose(each.rank, this.now);
    return this.settle();
  }

  #succeed(action: UnitAction): void {
    this.done.push(action.kind);
    const { unit } = action.unit;
    if (action.kind === "start") assert.ok(this.table.started(unit, this.now));
    else if (action.kind === "drain") this.table.drained(unit);
    else this.table.ended(unit);
  }
}

test("the first units start, their ranks numbered and placed as the topology says", () => {
  const table = tableOf("prefill=1x2,decode=2x1", 2);
  for (const node of [0, 7]) table.join(node);
  assert.deepEqual(
    table
      .act(0)
      .map(({ kind, unit: { unit, ranks } }) => [
        kind,
        unit,
        ...ranks.map(({ rank, node }) => [rank, node]),
      ]),
    [
      ["start", 0, [0, 0], [1, 7]],
      ["start", 1, [2, 0]],
      ["start", 2, [3, 7]],
    ],
  );
});

test("a unit that lost a node goes on with the ranks left, and is whole again when another comes", () => {
  const scene = new Scene(tableOf("prefill=1x2,decode=1x4", 2), 2);
  assert.deepEqual(scene.lose(1), ["prefill lost 0", "decode lost 00"]);
  assert.deepEqual(scene.later(1000), ["prefill serving 0", "decode serving 00"]);
  scene.table.join(2);
  assert.deepEqual(scene.settle(), ["prefill serving 02", "decode serving 0022"]);
});

test("a unit that lost all its nodes goes on at others, and home when they are back", () => {
  const scene = new Scene(tableOf("combined=2x1", 2), 2);
  assert.deepEqual(scene.lose(1), ["combined serving 0", "combined lost "]);
  assert.deepEqual(scene.later(1000), ["combined serving 0", "combined serving 0"]);
  scene.table.join(2);
  assert.deepEqual(scene.settle(), ["combined serving 0", "combined serving 2"]);
});

test("the whole unit serves before the one with fewer ranks is drained", () => {
  const scene = new Scene(tableOf("combined=1x2", 2), 2);
  scene.lose(1);
  scene.later(1000);
  scene.done.length = 0;
  scene.table.join(2);
  scene.settle();
  assert.deepEqual(scene.done, ["start", "drain", "end"]);
});

test("ranks that do not need each other are lost alone", () => {
  const scene = new Scene(tableOf("combined=1x3", 3, false), 3);
  assert.deepEqual(scene.lose(1), ["combined serving 02"]);
  scene.table.join(5);
  assert.deepEqual(scene.settle(), ["combined serving 052"]);
});

test("units are added and taken away by role, and the number wanted is checked", () => {
  const scene = new Scene(tableOf("prefill=1x1,decode=1x2", 2), 2);
  scene.table.scale({ decode: 3 });
  const places = scene.settle();
  assert.equal(places.filter((place) => place.startsWith("decode serving")).length, 3);
  scene.table.scale({ decode: 1 });
  assert.deepEqual(scene.settle(), ["prefill serving 0", "decode serving 01"]);
  assert.throws(
    () => scene.table.scale({ combined: 1 }),
    /no combined units, only prefill and decode/,
  );
  assert.throws(() => scene.table.scale({ decode: 0 }), /decode: expected at least 1 unit, got 0/);
  assert.throws(() => scene.table.scale({ decode: 1.5 }), /got 1.5/);
  assert.throws(() => scene.table.scale({ decode: 1025 }), /decode: expected at most 1024 units/);
});

test("a unit with nodes of its own waits until as many more have joined", () => {
  const scene = new Scene(tableOf("prefill=1x2,decode=1x4", [1, 2]), 3);
  assert.deepEqual(scene.settle(), ["prefill serving 00", "decode serving 1122"]);
  scene.table.scale({ decode: 2 });
  scene.table.join(3);
  assert.deepEqual(scene.settle().length, 2);
  scene.table.join(4);
  assert.deepEqual(scene.settle(), [
    "prefill serving 00",
    "decode serving 1122",
    "decode serving 3344",
  ]);
});

test("a unit that does not start is tried again later and later, and then said to be hopeless", () => {
  const table = tableOf("combined=1x1", 1);
  table.join(0);
  const waits: number[] = [];
  let now = 0;
  for (let tries = 0; tries < 6; tries++) {
    assert.equal(table.isHopeless, tries >= 5);
    const [action] = table.act(now);
    assert.equal(action.kind, "start");
    assert.deepEqual(table.units, [action.unit]);
    const { unit } = action.unit;
    table.failed(unit, "no memory", now);
    assert.deepEqual(table.problems, ["no memory"]);
    assert.deepEqual(table.act(now), [{ kind: "end", unit: action.unit }]);
    table.ended(unit);
    assert.deepEqual(table.act(now), []);
    waits.push(table.nextAct(now) - now);
    now = table.nextAct(now);
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000]);
});

type Event =
  | { readonly kind: "join" | "leave" | "die" | "finish" | "fail" | "wait"; readonly at: number }
  | { readonly kind: "scale"; readonly at: number; readonly role: UnitRole };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("join", "leave", "die", "finish", "finish", "fail", "wait"),
    at: fc.nat(20),
  }),
  fc.record({
    kind: fc.constant("scale"),
    at: fc.integer({ min: 1, max: 3 }),
    role: fc.constantFrom("prefill", "decode"),
  }),
);

test("whatever happens, what is wanted serves whole once all nodes are there again", () => {
  const property = fc.property(
    fc.array(event, { maxLength: 60, size: "max" }),
    fc.boolean(),
    fc.constantFrom<number | readonly number[]>(1, 3, [1, 2]),
    (events, sharesExperts, nodes) => {
      const table = tableOf("prefill=1x2,decode=1x3", nodes, sharesExperts);
      const seats = typeof nodes === "number" ? nodes : 3;
      const present = new Set<number>();
      const numbers = new Set<number>();
      const open: UnitAction[] = [];
      const wanted = { prefill: 1, decode: 1, combined: 0 };
      let nextNode = 0;
      let now = 0;
      const join = () => {
        present.add(nextNode);
        table.join(nextNode++);
      };
      const lose = (rank: number) => table.lose(rank, now);
      const act = () => {
        for (const action of table.act(now)) {
          open.push(action);
          if (action.kind !== "start") continue;
          for (const { rank, node } of action.unit.ranks) {
            assert.ok(!numbers.has(rank), `rank ${rank} is given twice`);
            assert.ok(present.has(node), `node ${node} is not there`);
            numbers.add(rank);
          }
        }
      };
      const settle = (action: UnitAction | undefined, succeeds: boolean) => {
        if (!action) return;
        const { unit } = action.unit;
        if (action.kind === "drain") table.drained(unit);
        else if (action.kind === "end") table.ended(unit);
        else if (!succeeds || !table.started(unit, now)) table.failed(unit, "failed", now);
      };
      for (let seat = 0; seat < seats; seat++) join();
      act();
      for (const { kind, at, ...more } of events) {
        if (kind === "join") join();
        else if (kind === "wait") now += 100 * at;
        else if (kind === "scale" && "role" in more)
          table.scale({ [more.role]: (wanted[more.role] = at) });
        else if (kind === "leave") {
          // All but the coordinator, whose table it is.
          const node = [...present].slice(1)[at % Math.max(1, present.size - 1)] as
            | number
            | undefined;
          if (node === undefined) continue;
          present.delete(node);
          table.leave(node);
          const ranks = table.units.flatMap((unit) => unit.ranks);
          for (const each of ranks) if (each.node === node) lose(each.rank);
        } else if (kind === "die") {
          const ranks = table.units.flatMap((unit) => unit.ranks);
          if (ranks.length > 0) lose(ranks[at % ranks.length].rank);
        } else settle(open.splice(at % Math.max(1, open.length), 1)[0], kind === "finish");
        act();
      }
      while (present.size < 12) join();
      for (let rounds = 0; rounds < 100; rounds++) {
        act();
        for (const action of open.splice(0)) settle(action, true);
        now += 60_000;
      }
      assert.deepEqual(open, []);
      for (const [role, size] of [
        ["prefill", 2],
        ["decode", 3],
      ] as const) {
        const units = table.units.filter((unit) => unit.role === role);
        assert.deepEqual(
          units.map(({ state, ranks }) => [state, ranks.length]),
          Array.from({ length: wanted[role] }, () => ["serving", size]),
        );
      }
      const load = new Map<number, number>();
      for (const { ranks } of table.units) {
        for (const { node } of ranks) load.set(node, (load.get(node) ?? 0) + 1);
      }
      if (typeof nodes !== "number") assert.ok(Math.max(...load.values()) <= 2);
    },
  );
  fc.assert(property, { numRuns: 300 });
});
