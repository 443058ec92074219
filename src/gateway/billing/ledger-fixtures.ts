import type { RequestRecord, Topology, TopologyRecord } from "./ledger-record.ts";
import type { LedgerDisk, LedgerFile } from "./ledger-file.ts";
import { unlocked } from "./ledger-lock.ts";
import { Ledger } from "./ledger.ts";
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
  readonly ino: number;
  readonly #before: (call: string) => Promise<void>;
  content = "";
  nlink = 1;
  /** Bytes that are written before writing fails; undefined: it does not. */
  room: number | undefined;
  syncFails = false;

  /** `before` is called before anything is done, and may do what somebody else does meanwhile. */
  constructor(ino: number, before: (call: string) => Promise<void>) {
    this.ino = ino;
    this.#before = before;
  }

  readonly appendFile = async (data: unknown) => {
    await this.#enter("write");
    const text = String(data);
    this.content += text.slice(0, this.room);
    if (this.room !== undefined && text.length > this.room) throw new Error("no space");
  };
  readonly datasync = async () => {
    await this.#enter("sync");
    if (this.syncFails) throw new Error("input/output error");
  };
  readonly truncate = async (length?: number) => {
    await this.#enter("truncate");
    this.content = this.content.slice(0, length);
  };
  readonly close = async () => {
    await this.#enter("close");
  };
  readonly stat = async () => {
    await this.#before("stat");
    return { dev: 1, ino: this.ino, nlink: this.nlink, size: this.content.length };
  };
  readonly read = async (buffer: Buffer, offset: number, length: number, position: number) => {
    await this.#before("read");
    return { bytesRead: buffer.write(this.content.slice(position, position + length), offset) };
  };

  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows what it wrote
  get lines(): any[] {
    const lines = this.content.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line));
  }

  get ids(): string[] {
    return this.lines.map(({ id }) => id);
  }

  async #enter(call: string): Promise<void> {
    await this.#before(call);
    this.calls.push(call);
  }
}

/** A disk for one ledger, whose file others may take away. */
export class FakeDisk implements LedgerDisk {
  before: (call: string) => Promise<void> = async () => undefined;
  #files = 0;
  /** The file that has the name. */
  file: FakeFile | undefined;

  readonly open = async () => {
    await this.before("open");
    return (this.file ??= new FakeFile(++this.#files, (call) => this.before(call)));
  };
  readonly identify = async () => {
    await this.before("identify");
    return this.file && { dev: 1, ino: this.file.ino };
  };
}

/** A new ledger, which nobody else wants, on a disk and in the file that it was opened with. */
export async function openFakeLedger() {
  const disk = new FakeDisk();
  const file = await disk.open();
  const ledger = await Ledger.open("ledger.jsonl", disk, async () => unlocked);
  return { ledger, disk, file };
}
