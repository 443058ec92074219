import { setFlagsFromString } from "node:v8";

/**
 * Bounds the garbage that the heaps of a serving process hold, its threads' too: by default each of
 * them grows to several times the some 20 MB that live in it, over thousands of requests. To be
 * called before any thread starts.
 */
export function boundHeaps(): void {
  /** MiB; the default of 16 is kept three times by each thread. */
  setFlagsFromString("--max-semi-space-size=8");
  /** A collection comes when a heap has grown by this share of what the last one has left. */
  setFlagsFromString("--heap-growing-percent=50");
}
