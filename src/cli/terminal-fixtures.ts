import type { TestContext } from "node:test";

/** What a command writes to stderr, which it takes for a terminal until the test ends. */
export function terminalOf(t: TestContext): string[] {
  const written: string[] = [];
  t.mock.method(process.stderr, "write", (text: string) => written.push(text) > 0);
  const { isTTY } = process.stderr;
  process.stderr.isTTY = true;
  t.after(() => {
    process.stderr.isTTY = isTTY;
  });
  return written;
}

/** Sends a signal to what listens from here on, and to nobody else. */
export function signalsOf(t: TestContext): (signal: NodeJS.Signals) => void {
  const listeners = new Map<string | symbol, () => void>();
  t.mock.method(process, "on", (name: string | symbol, listener: () => void) => {
    listeners.set(name, listener);
    return process;
  });
  return (signal) => listeners.get(signal)?.();
}
