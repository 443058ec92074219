import { useEffect, useState } from "preact/hooks";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { extended, readSamples, sampleOf, writeSamples, type Sample } from "./history.ts";
import { ask, events, ServerError } from "./server.ts";
import { store, stored } from "./stored.ts";

/** `locked`: the server wants a key, or another one. */
export type Connection = "connecting" | "live" | "lost" | "locked";

export interface Watched {
  readonly connection: Connection;
  /** The last ten seconds, oldest first; the last is now. Empty until the first one came. */
  readonly recent: readonly StatusSnapshot[];
  /** The last ten minutes, as far as this window has seen them. */
  readonly samples: readonly Sample[];
}

/** Snapshots kept whole. */
const RECENT = 11;
const RETRY_MS = 2000;
const STORED = "daysix.samples";

/** Follows the server's status, again and again if it is lost. Charts outlive a reload. */
export function useStatus(key: string): Watched {
  const [connection, setConnection] = useState<Connection>("connecting");
  const [recent, setRecent] = useState<readonly StatusSnapshot[]>([]);
  const [samples, setSamples] = useState(() => readSamples(stored("sessionStorage", STORED)));

  useEffect(() => {
    const left = new AbortController();
    const { signal } = left;
    const follow = async () => {
      try {
        const response = await ask("/status/events", key, { signal });
        for await (const snapshot of events<StatusSnapshot>(response)) {
          setConnection("live");
          setRecent((known) => [...known.slice(1 - RECENT), snapshot]);
          setSamples((known) => extended(known, sampleOf(snapshot)));
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

  useEffect(() => {
    const keep = () => store("sessionStorage", STORED, writeSamples(samples));
    addEventListener("pagehide", keep);
    return () => removeEventListener("pagehide", keep);
  }, [samples]);

  return { connection, recent, samples };
}
