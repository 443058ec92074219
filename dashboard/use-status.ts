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
const storedAt = (model: string) => `daysix.samples ${model}`;

/** By model. */
type Histories = Readonly<Record<string, readonly Sample[]>>;

/**
 * Follows the status of one of the server's models, the first unless one is named, again and again if it is
 * lost. Charts outlive a reload.
 */
export function useStatus(key: string, model: string): Watched {
  const [connection, setConnection] = useState<Connection>("connecting");
  const [recent, setRecent] = useState<readonly StatusSnapshot[]>([]);
  const [histories, setHistories] = useState<Histories>({});

  useEffect(() => {
    const left = new AbortController();
    const { signal } = left;
    let asked = model;
    const follow = async () => {
      try {
        const query = asked === "" ? "" : `?model=${encodeURIComponent(asked)}`;
        const response = await ask(`/status/events${query}`, key, { signal });
        for await (const snapshot of events<StatusSnapshot>(response)) {
          setConnection("live");
          setRecent((known) => [...withoutOthers(known, snapshot).slice(1 - RECENT), snapshot]);
          setHistories((known) => withSample(known, snapshot));
        }
        setConnection("lost");
      } catch (error) {
        if (signal.aborted) return;
        // The server has other models now: its first.
        if (error instanceof ServerError && error.status === 404) asked = "";
        const locked = error instanceof ServerError && error.status === 401;
        setConnection(locked ? "locked" : "lost");
        if (locked) return;
      }
      setTimeout(() => void (signal.aborted || follow()), RETRY_MS);
    };
    void follow();
    return () => left.abort();
  }, [key, model]);

  useEffect(() => {
    const keep = () => {
      for (const [name, samples] of Object.entries(histories)) {
        store("sessionStorage", storedAt(name), writeSamples(samples));
      }
    };
    addEventListener("pagehide", keep);
    return () => removeEventListener("pagehide", keep);
  }, [histories]);

  return { connection, recent, samples: histories[recent.at(-1)?.models[0] ?? ""] ?? [] };
}

/** The snapshots that are of the same model. */
const withoutOthers = (known: readonly StatusSnapshot[], { models: [name] }: StatusSnapshot) =>
  known.filter(({ models }) => models[0] === name);

function withSample(known: Histories, snapshot: StatusSnapshot): Histories {
  const [name] = snapshot.models;
  const before = known[name] ?? readSamples(stored("sessionStorage", storedAt(name)));
  return { ...known, [name]: extended(before, sampleOf(snapshot)) };
}
