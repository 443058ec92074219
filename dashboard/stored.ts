type Store = "localStorage" | "sessionStorage";

/** What this browser keeps under a key; null where it has nothing, or forbids to ask. */
export function stored(kind: Store, key: string): string | null {
  try {
    return globalThis[kind].getItem(key);
  } catch {
    return null;
  }
}

/** A store that is full or forbidden costs the memory, and nothing else. */
export function store(kind: Store, key: string, text: string): void {
  try {
    globalThis[kind].setItem(key, text);
  } catch {
    // It is shown all the same.
  }
}
