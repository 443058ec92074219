/** A trace cannot be written or read; the message names the file. */
export class TraceError extends Error {
  override readonly name = "TraceError";
}
