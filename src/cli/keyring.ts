import { costOf, Keyring, readKeysFile, readLedger } from "../gateway/index.ts";
import { UsageError } from "./arguments.ts";

/**
 * The keys that open the server, with what the ledger says they have spent.
 * @throws KeysFileError naming the file and the field, UsageError for a budget without a ledger.
 */
export async function openKeyring({
  apiKey,
  keysFile,
  ledger,
}: {
  readonly apiKey?: string;
  readonly keysFile?: string;
  readonly ledger?: string;
}): Promise<Keyring> {
  const keys = keysFile === undefined ? [] : await readKeysFile(keysFile);
  const keyring = new Keyring(apiKey, keys, Date.now);
  if (keys.every(({ budget }) => budget === undefined)) return keyring;
  if (ledger === undefined) {
    throw new UsageError("--keys: bills say what a budget has left; expected --ledger beside it");
  }
  for await (const line of readLedger(ledger)) {
    if (line.kind !== "record" || line.record.kind !== "request") continue;
    keyring.spent(line.record.tenant, costOf(line.record), line.record.time);
  }
  return keyring;
}
