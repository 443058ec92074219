import { useEffect, useState } from "preact/hooks";
import { load, LOAD_SECONDS, LOAD_SEQUENCES } from "./demo-load.ts";

/** Gives the server something to do for a while, so that there is something to watch. */
export function LoadButton({ model, apiKey }: { model: string; apiKey: string }) {
  const [running, setRunning] = useState<AbortController>();
  const [left, setLeft] = useState(0);
  const [problem, setProblem] = useState("");

  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setLeft((seconds) => seconds - 1), 1000);
    return () => {
      clearInterval(timer);
      running.abort();
    };
  }, [running]);
  useEffect(() => {
    if (left <= 0) running?.abort();
  }, [left, running]);

  const start = async () => {
    const stop = new AbortController();
    setProblem("");
    setLeft(LOAD_SECONDS);
    setRunning(stop);
    try {
      await load({ model, apiKey, signal: stop.signal, random: Math.random });
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setRunning(undefined);
    }
  };

  return (
    <div class="load">
      {running ? (
        <button type="button" class="quiet" onClick={() => running.abort()}>
          Stop the load · {left} s
        </button>
      ) : (
        <button
          type="button"
          class="quiet"
          title={`${LOAD_SEQUENCES} answers at a time for ${LOAD_SECONDS} s, asked for as any are, and billed so`}
          onClick={() => void start()}
        >
          Load it
        </button>
      )}
      {problem !== "" && <p role="alert">{problem}</p>}
    </div>
  );
}
