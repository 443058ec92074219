import { useEffect, useRef, useState } from "preact/hooks";
import { readTurns, writeTurns, type Turn } from "./conversation.ts";

const STORED = "daysix.chat";
/** Between two times that a growing conversation is written. */
const STORE_MS = 1000;

/** The conversation, which stays in this browser until it is begun anew; shown once a frame at most. */
export function useTurns(): [readonly Turn[], (turns: readonly Turn[]) => void] {
  const [turns, setTurns] = useState(() => readTurns(localStorage.getItem(STORED)));
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
    const store = () => {
      if (written === newest.current) return;
      written = newest.current;
      try {
        localStorage.setItem(STORED, writeTurns(written));
      } catch {
        // A full or forbidden store costs the memory of the conversation, and nothing else.
      }
    };
    const timer = setInterval(store, STORE_MS);
    addEventListener("pagehide", store);
    return () => {
      clearInterval(timer);
      removeEventListener("pagehide", store);
    };
  }, []);

  return [turns, change];
}
