const FIRST_MS = 250;

/** Milliseconds to wait after so many tries that have failed, at most `most`. */
export const backOffMs = (tries: number, most = 5000): number =>
  Math.min(most, FIRST_MS * 2 ** (tries - 1));
