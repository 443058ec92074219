/** The ledger's file cannot be used. */
export class LedgerError extends Error {
  override readonly name = "LedgerError";
}
