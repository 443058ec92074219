import { costOf, Keyring, type NamedKey, readKeysFile, readLedger } from "../gateway/index.ts";
import { textIf, UsageError } from "./arguments.ts";

/** What `--keys` says; undefined without it. @throws UsageError also for a budget without a ledger */
export async function keysOf(
  flags: Readonly<Record<string, unknown>>,
): Promise<readonly NamedKey[] | undefined> {
  const file = textIf(flags, "keys");
  if (file === undefined) return undefined;
  const keys = await readKeysFile(file).catch((error: Error) => {
    throw new UsageError(`--keys: ${error.message}`);
  });
  if (textIf(flags, "ledger") === undefined && keys.some(({ budget }) => budget)) {
    throw new UsageError("--keys: bills say what a budget has left; expected --ledger beside it");
  }
  return keys;
}

/** The keys that open the server, with what the ledger says they have spent. */
export async function openKeyring({
  apiKey,
  keys = [],
  ledger,
}: {
  readonly apiKey?: string;
  readonly keys?: readonly NamedKey[];
  readonly ledger?: string;
}): Promise<Keyring> {
  const keyring = new Keyring(apiKey, keys, Date.now);
  if (ledger === undefined || keys.every(({ budget }) => budget === undefined)) return keyring;
  for await (const line of readLedger(ledger)) {
    if (line.kind !== "record" || line.record.kind !== "request") continue;
    keyring.spent(line.record.tenant, costOf(line.record), line.record.time);
  }
  return keyring;
}
