import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { store, stored } from "./stored.ts";

const kinds = ["localStorage", "sessionStorage"] as const;
const before = kinds.map((kind) => Object.getOwnPropertyDescriptor(globalThis, kind));
afterEach(() => {
  for (const [i, kind] of kinds.entries()) {
    const own = before[i];
    if (own) Object.defineProperty(globalThis, kind, own);
    else Reflect.deleteProperty(globalThis, kind);
  }
});

test("what is stored is read again, and a browser that forbids it loses the memory alone", () => {
  for (const kind of kinds) {
    const kept = new Map<string, string>();
    const value = {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, text: string) => void kept.set(key, text),
    };
    Object.defineProperty(globalThis, kind, { value, configurable: true });
    assert.equal(stored(kind, "a"), null);
    store(kind, "a", "text");
    assert.equal(stored(kind, "a"), "text");
    Object.defineProperty(globalThis, kind, {
      configurable: true,
      get: () => {
        throw new DOMException("forbidden", "SecurityError");
      },
    });
    store(kind, "a", "more");
    assert.equal(stored(kind, "a"), null);
  }
});
