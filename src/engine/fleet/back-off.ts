const FIRST_MS = 250;
const MOST_MS = 5000;

/** Milliseconds to wait after so many tries that have failed. */
export const backOffMs = (tries: number): number => Math.min(MOST_MS, FIRST_MS * 2 ** (tries - 1));
