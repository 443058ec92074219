import assert from "node:assert/strict";
import { test } from "node:test";
import type { Logger } from "pino";
import type { UnitLife, UnitState } from "../engine/index.ts";
import type { Accounts } from "../gateway/index.ts";
import { FleetRecord } from "./fleet-record.ts";
import { FleetWatch } from "./fleet-watch.ts";

const unit = (number: number, role: UnitLife["role"], state: UnitState, nodes: number[]) => ({
  ...{ unit: number, role, state },
  ranks: nodes.map((node, rank) => ({ rank, node })),
});

test("log and ledger are told what has changed, and who was told of a loss of its end", async () => {
  const lines: string[] = [];
  const say = (level: string) => (what: { units?: string; problem?: string }) =>
    lines.push(`${level}: ${what.units ?? what.problem}`);
  const log = { info: say("info"), warn: say("warn"), error: say("error") } as unknown as Logger;
  const recorded: number[][] = [];
  const accounts = {
    setTopology: async (nodes: Parameters<Accounts["setTopology"]>[0]) => {
      const { prefillNodes, decodeNodes, combinedNodes, acceleratorsPerNode } = nodes;
      recorded.push([prefillNodes, decodeNodes, combinedNodes, acceleratorsPerNode]);
    },
  } as unknown as Accounts;
  const engine = {
    units: [unit(0, "prefill", "serving", [0, 1]), unit(1, "decode", "serving", [0, 1])],
    problems: [] as string[],
  };
  const watch = new FleetWatch(engine, log);
  const record = new FleetRecord([engine], accounts);
  const look = async () => {
    watch.look();
    await record.look();
  };
  await look();
  for (const units of [
    [unit(0, "prefill", "serving", [0, 1]), unit(1, "decode", "lost", [0])],
    [unit(0, "prefill", "serving", [0, 1]), unit(1, "decode", "lost", [])],
    [unit(0, "prefill", "serving", [0, 1]), unit(2, "decode", "serving", [0])],
    [unit(0, "prefill", "draining", [0, 1]), unit(2, "decode", "serving", [0])],
  ]) {
    engine.units = units;
    await look();
  }
  for (const problems of [["no memory"], ["no memory"], []]) {
    engine.problems = problems;
    await look();
  }
  assert.deepEqual(lines, [
    "warn: 0 prefill x2 serving, 1 decode lost",
    "warn: 0 prefill x2 serving, 2 decode x1 serving",
    "info: 0 prefill draining, 2 decode x1 serving",
    "error: no memory",
  ]);
  assert.deepEqual(recorded, [
    [0, 0, 2, 2],
    [2, 0, 0, 1],
    [1, 0, 1, 1.5],
  ]);
});

test("models of one server share its process, and other nodes are a model's own", async () => {
  const recorded: unknown[] = [];
  const accounts = { setTopology: async (nodes: unknown) => void recorded.push(nodes) };
  const engines = [
    { units: [unit(0, "prefill", "serving", [0, 1])] },
    { units: [unit(0, "combined", "serving", [0]), unit(1, "combined", "lost", [0])] },
    { units: [unit(0, "decode", "serving", [1])] },
  ];
  const record = new FleetRecord(engines, accounts);
  await record.look();
  engines[1].units = [];
  await record.look();
  engines[2].units = [];
  await record.look();
  assert.deepEqual(recorded, [
    { prefillNodes: 1, decodeNodes: 1, combinedNodes: 1, acceleratorsPerNode: 4 / 3 },
    { prefillNodes: 2, decodeNodes: 1, combinedNodes: 0, acceleratorsPerNode: 1 },
    { prefillNodes: 2, decodeNodes: 0, combinedNodes: 0, acceleratorsPerNode: 1 },
  ]);
});
