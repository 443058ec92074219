import type { RequestRecord, Topology, TopologyRecord } from "./ledger-record.ts";
import type { LedgerFile } from "./ledger.ts";
import { charge } from "./money.ts";

/** An hour of the day that a test's story is about. */
export const at = (clock: string) => Date.parse(`2025-02-27T${clock}Z`);

/** A whole record, but for what a test is about. */
export function requestRecord(parts: Partial<RequestRecord> = {}): RequestRecord {
  const tokens = { hit: 64, miss: 36, output: 10, reasoning: 3 };
  const rates = { hit: 140_000n, miss: 550_000n, output: 2_190_000n };
  const price = { name: "DeepSeek-R1", from: at("00:00:00"), window: null, rates };
  return {
    kind: "request",
    time: at("12:00:00"),
    id: "chatcmpl-1",
    requestId: "req-1",
    tenant: "default",
    model: "calf",
    outcome: "complete",
    finishReasons: ["stop"],
    tokens,
    kvTokensRead: 1045,
    timing: { sequences: 1, firstTokenMs: 500, decodeMs: 900 },
    billing: { kind: "billed", price, picodollars: charge(tokens, rates) },
    ...parts,
  };
}

export const oneNode: Topology = {
  prefillNodes: 0,
  decodeNodes: 0,
  combinedNodes: 1,
  acceleratorsPerNode: 8,
};

export function topologyRecord(
  clock: string,
  event: TopologyRecord["event"],
  parts: Partial<Topology> = {},
): TopologyRecord {
  return { kind: "topology", time: at(clock), event, ...oneNode, ...parts };
}

/** A file that tells what is done to it, and fails when told to. */
export class FakeFile implements LedgerFile {
  readonly calls: string[] = [];
  content = "";
  /** Bytes that are written before writing fails; undefined: it does not. */
  room: number | undefined;
  syncFails = false;
  /** What a sync waits for. */
  beforeSync: Promise<void> = Promise.resolve();

  readonly appendFile = async (data: unknown) => {
    const text = String(data);
    this.calls.push("write");
    this.content += text.slice(0, this.room);
    if (this.room !== undefined && text.length > this.room) throw new Error("no space");
  };
  readonly datasync = async () => {
    this.calls.push("sync");
    await this.beforeSync;
    if (this.syncFails) throw new Error("input/output error");
  };
  readonly truncate = async (length?: number) => {
    this.calls.push("truncate");
    this.content = this.content.slice(0, length);
  };
  readonly close = async () => {
    this.calls.push("close");
  };
  // oxlint-disable-next-line typescript/no-explicit-any -- of all its overloads and fields one is used
  readonly stat = async (): Promise<any> => ({ size: this.content.length });

  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows what it wrote
  get lines(): any[] {
    const lines = this.content.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line));
  }

  get ids(): string[] {
    return this.lines.map(({ id }) => id);
  }
}
