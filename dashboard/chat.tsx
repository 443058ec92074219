import { useEffect, useRef, useState } from "preact/hooks";
import { converse, type Turn } from "./conversation.ts";

/** A conversation with the model that the page watches. */
export function Chat({ model, apiKey }: { model: string; apiKey: string }) {
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const [text, setText] = useState("");
  const [thinks, setThinks] = useState(true);
  const [live, setLive] = useState<AbortController>();
  const log = useRef<HTMLDivElement>(null);

  useEffect(() => log.current?.scrollTo({ top: log.current.scrollHeight }), [turns]);

  const send = async () => {
    if (live || text.trim() === "") return;
    const stop = new AbortController();
    let turn: Turn = { question: text, thinking: "", answer: "" };
    const show = (grown: Turn) => {
      turn = grown;
      setTurns([...turns, turn]);
    };
    setLive(stop);
    setText("");
    show(turn);
    try {
      const question = { model, apiKey, thinks, before: turns, text, signal: stop.signal };
      for await (const grown of converse(question)) show(grown);
    } catch (error) {
      show({ ...turn, note: stop.signal.aborted ? "stopped" : (error as Error).message });
    } finally {
      setLive(undefined);
    }
  };

  return (
    <section class="panel chat" aria-labelledby="chat">
      <h2 id="chat">Chat with {model}</h2>
      <div class="log" ref={log} role="log" aria-live="polite" aria-busy={live !== undefined}>
        {turns.length === 0 && <p class="dim">Ask something and watch it pass through.</p>}
        {turns.map((turn, index) => (
          <Exchange key={index} turn={turn} />
        ))}
      </div>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <label class="hidden" for="question">
          Message
        </label>
        <textarea
          id="question"
          rows={2}
          placeholder="Message"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            void send();
          }}
        />
        <div class="chat-row">
          <label>
            <input
              type="checkbox"
              checked={thinks}
              onChange={(event) => setThinks(event.currentTarget.checked)}
            />{" "}
            Think first
          </label>
          {live ? (
            <button type="button" onClick={() => live.abort()}>
              Stop
            </button>
          ) : (
            <button type="submit">Send</button>
          )}
        </div>
      </form>
    </section>
  );
}

function Exchange({ turn }: { turn: Turn }) {
  return (
    <article>
      <p class="question">{turn.question}</p>
      {turn.thinking !== "" && (
        <div class="thinking">
          <span>Thinking</span>
          {turn.thinking}
        </div>
      )}
      <p class="answer">{turn.answer}</p>
      <p class="note">{turn.note ?? "…"}</p>
    </article>
  );
}
