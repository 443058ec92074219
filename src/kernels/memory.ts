import { freemem, totalmem } from "node:os";

/** Bytes of memory this process may use: the machine's, or as many as its control group allows. */
export function usableMemory(): number {
  return memoryWithin(totalmem(), process.constrainedMemory());
}

/**
 * Bytes of that memory that are free or that the page cache gives back. A control group counts the
 * page cache as used, so only the group's limit is known.
 */
export function availableMemory(): number {
  return Math.min(freemem(), usableMemory());
}

/** Without a limit, `limit` is 0 or more than any machine has. */
export function memoryWithin(bytes: number, limit: number): number {
  return limit > 0 ? Math.min(bytes, limit) : bytes;
}
