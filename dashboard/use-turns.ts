import { useEffect, useRef, useState } from "preact/hooks";
import { readTurns, writeTurns, type Turn } from "./conversation.ts";
import { store, stored } from "./stored.ts";

const STORED = "daysix.chat";
/** Between two times that a growing conversation is written. */
const STORE_MS = 1000;

/** The conversation, which stays in this browser until it is begun anew; shown once a frame at most. */
export function useTurns(): [readonly Turn[], (turns: readonly Turn[]) => void] {
  const [turns, setTurns] = useState(() => readTurns(stored("localStorage", STORED)));
  const newest = useRef(turns);
  const frame = useRef(0);

  const change = (next: readonly Turn[]) => {
    newest.current = next;
    frame.current ||= requestAnimationFrame(() => {
      frame.current = 0;
      setTurns(newest.current);
    });
  };

  useEffect(() => {
    let written: readonly Turn[] | undefined = newest.current;
    const keep = () => {
      if (written === newest.current) return;
      written = newest.current;
      store("localStorage", STORED, writeTurns(written));
    };
    const timer = setInterval(keep, STORE_MS);
    addEventListener("pagehide", keep);
    return () => {
      clearInterval(timer);
      removeEventListener("pagehide", keep);
    };
  }, []);

  return [turns, change];
}
