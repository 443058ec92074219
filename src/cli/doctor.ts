import type { Command } from "cac";
import { adviceFor, inspectMachine, type Machine } from "../bench/index.ts";
import { multiplyKinds, type ByMultiplyKind } from "../kernels/index.ts";
import { amount } from "./amount.ts";
import { packedFolder } from "./packed.ts";
import { table } from "./table.ts";

export function withDoctor(command: Command): Command {
  return command.option("--json", "Print JSON");
}

/** `daysix doctor`: what this machine has, how fast it is, and what to change. */
export function runDoctor(flags: Readonly<Record<string, unknown>>): void {
  const machine = inspectMachine(packedFolder);
  const advice = adviceFor(machine);
  if (flags["json"] === true) console.log(JSON.stringify({ ...machine, advice }, null, 2));
  else printMachine(machine, advice);
}

/** Columns of peaks: what is multiplied, and by which instructions. */
function peakHeader(instructions: ByMultiplyKind<string>): string[] {
  return multiplyKinds.map((kind) => `${kind.toUpperCase()} GOP/s (${instructions[kind]})`);
}

function pagesOf({ mapsHugePages }: Machine): string {
  if (mapsHugePages === null) return "pages of a size that is not known";
  return mapsHugePages ? "pages of 2 MiB" : "small pages";
}

function printMachine(machine: Machine, advice: readonly string[]): void {
  const { cores, usableCores, instructionSet, instructionSets, memoryBytes } = machine;
  const lines = [
    ["machine", `${machine.processor}; ${machine.platform}`],
    ["kernels", `${instructionSet}, of ${instructionSets.join(", ") || "none"}`],
    ["cores", usableCores < cores ? `${usableCores} by quota, of ${cores}` : `${cores}`],
    ["NUMA nodes", `${machine.numaNodes}`],
    ["huge pages", machine.hugePages ?? "unknown"],
    ["packed", `${packedFolder}, mapped in ${pagesOf(machine)}`],
    ["memory", `${amount(memoryBytes)}, ${amount(machine.availableBytes)} available`],
    ["load", machine.load.toFixed(1)],
  ];
  for (const [name, value] of lines) console.log(`${name.padEnd(12)}${value}`);
  if (machine.speeds.length > 0) {
    const rows = machine.speeds.map(({ threads, readGBs, peaks }) => [
      String(threads),
      readGBs.toFixed(1),
      ...multiplyKinds.map((kind) => peaks[kind].toFixed(0)),
    ]);
    const [{ instructions }] = machine.speeds;
    console.log(`\n${table([["threads", "read GB/s", ...peakHeader(instructions)], ...rows])}`);
  }
  if (advice.length > 0) console.log(`\n${advice.map((line) => `- ${line}`).join("\n")}`);
}
