import { createReadStream } from "node:fs";
import { z } from "zod";
import { ledgerRecord, type LedgerRecord } from "./ledger-record.ts";

/** A line of a ledger: what it records, or why it cannot be told. */
export type LedgerLine =
  | { readonly kind: "record"; readonly record: LedgerRecord }
  | { readonly kind: "unreadable"; readonly line: number; readonly problem: string };

/**
 * A ledger's lines in order, one in memory at a time. A line that cannot be read, such as one cut
 * short by a crash, is told and passed over; the others are not touched by it.
 * @throws what the file system says of the file.
 */
export async function* readLedger(path: string): AsyncGenerator<LedgerLine> {
  let line = 0;
  for await (const text of linesOf(createReadStream(path, "utf8"))) {
    line++;
    const { record, problem } = parse(text);
    if (record) yield { kind: "record", record };
    else yield { kind: "unreadable", line, problem };
  }
}

/** Split at newlines alone; JSON may hold any other character that ends a line. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

type Parsed =
  | { readonly record: LedgerRecord; readonly problem?: never }
  | { readonly record?: never; readonly problem: string };

function parse(text: string): Parsed {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: "not a whole JSON value: cut short by a crash?" };
  }
  const { data, error } = ledgerRecord.safeParse(json);
  if (data) return { record: data };
  const [{ path, message }] = error.issues;
  return { problem: `${z.core.toDotPath(path) || "record"}: ${message}` };
}
