import { freemem, totalmem } from "node:os";

/** Bytes of memory this process may use: the machine's, or as many as its control group allows. */
export function usableMemory(): number {
  return memoryWithin(totalmem(), process.constrainedMemory());
}

/**
 * Bytes of it that are free or that the page cache gives back. A control group's own count of what
 * it uses holds that cache, so its limit is all that can be said of it.
 */
export function availableMemory(): number {
  return Math.min(freemem(), usableMemory());
}

/** `limit` is 0, or more than any machine has, where there is none. */
export function memoryWithin(bytes: number, limit: number): number {
  return limit > 0 ? Math.min(bytes, limit) : bytes;
}
