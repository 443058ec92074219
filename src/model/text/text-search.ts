/** Where text that comes in pieces has one of several strings. */

/** The string whose last character comes first, the longest of those. */
export function firstMatch(
  text: string,
  strings: readonly string[],
): { readonly start: number; readonly end: number } | undefined {
  let best: { start: number; end: number } | undefined;
  for (const string of strings) {
    const start = text.indexOf(string);
    if (start < 0) continue;
    const end = start + string.length;
    if (!best || end < best.end || (end === best.end && start < best.start)) {
      best = { start, end };
    }
  }
  return best;
}

/** Length of the longest end of `text` that begins one of the strings and may be completed by the next piece. */
export function unfinishedLength(text: string, strings: readonly string[]): number {
  let longest = 0;
  for (const string of strings) {
    for (let length = Math.min(string.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(string.slice(0, length))) longest = length;
    }
  }
  return longest;
}
