import { useEffect, useState } from "preact/hooks";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { ask, events, ServerError } from "./server.ts";

/** `locked`: the server wants a key, or another one. */
export type Connection = "connecting" | "live" | "lost" | "locked";

export interface Watched {
  readonly connection: Connection;
  /** Oldest first; the last is now. Empty until the first one came. */
  readonly history: readonly StatusSnapshot[];
}

/** Snapshots kept: ten minutes. */
const KEPT = 600;
const RETRY_MS = 2000;

/** Follows the server's status, again and again if it is lost. */
export function useStatus(key: string): Watched {
  const [connection, setConnection] = useState<Connection>("connecting");
  const [history, setHistory] = useState<readonly StatusSnapshot[]>([]);

  useEffect(() => {
    const left = new AbortController();
    const { signal } = left;
    const follow = async () => {
      try {
        const response = await ask("/status/events", key, { signal });
        for await (const snapshot of events<StatusSnapshot>(response)) {
          setConnection("live");
          setHistory((known) => [...known.slice(1 - KEPT), snapshot]);
        }
        setConnection("lost");
      } catch (error) {
        if (signal.aborted) return;
        const locked = error instanceof ServerError && error.status === 401;
        setConnection(locked ? "locked" : "lost");
        if (locked) return;
      }
      setTimeout(() => void (signal.aborted || follow()), RETRY_MS);
    };
    void follow();
    return () => left.abort();
  }, [key]);

  return { connection, history };
}
