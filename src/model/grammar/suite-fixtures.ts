/** Walks the groups of JSON-Schema-Test-Suite: what is refused, and what is decided wrongly. */
import { GrammarError } from "./errors.ts";
import { compileGrammar } from "./grammar.ts";
import { DEAD, type Machine } from "./machine.ts";
import type { Placed } from "./shapes.ts";

export interface SuiteGroup {
  readonly description: string;
  readonly schema: Placed["schema"];
  readonly tests: readonly { readonly data: unknown; readonly valid: boolean }[];
}

export interface SuiteResult {
  /** Schemas that are refused, with the message. */
  readonly refused: readonly string[];
  /** Invalid texts that a walk comes through, and valid ones where it does not. */
  readonly wrong: readonly string[];
  readonly texts: number;
}

/** Each test's data is walked as JSON.stringify writes it, in one line and in many. */
export function walkSuite(groups: readonly SuiteGroup[]): SuiteResult {
  const refused: string[] = [];
  const wrong: string[] = [];
  let texts = 0;
  for (const { description, schema, tests } of groups) {
    const machine = machineOf(schema);
    if (typeof machine === "string" && !machine.includes("no value is allowed")) {
      refused.push(`${description}: ${machine}`);
      continue;
    }
    for (const { data, valid } of tests) {
      for (const text of [JSON.stringify(data), JSON.stringify(data, null, 2)]) {
        texts++;
        const allowed = typeof machine !== "string" && walks(machine, text);
        if (allowed !== valid) wrong.push(`${description}: ${text} is ${valid ? "valid" : "not"}`);
      }
    }
  }
  return { refused, wrong, texts };
}

/** The suite's draft 7 has references alone; without a name of it schemas are read as 2020-12's. */
function machineOf(schema: Placed["schema"]): Machine | string {
  const dialect = { $schema: "http://json-schema.org/draft-07/schema#" };
  try {
    const own = typeof schema === "boolean" ? schema : { ...dialect, ...schema };
    return compileGrammar({ kind: "json", schema: own });
  } catch (error) {
    if (error instanceof GrammarError) return error.message;
    throw error;
  }
}

/** Whether a text is one of a grammar's. */
export function walks(machine: Machine, text: string): boolean {
  let state = machine.start;
  for (const byte of Buffer.from(text)) {
    state = machine.step(state, byte);
    if (state === DEAD) return false;
  }
  return machine.mayEnd(state);
}
