import { useEffect, useRef, useState } from "preact/hooks";
import { converse, type Turn } from "./conversation.ts";
import { Exchange } from "./exchange.tsx";
import { useTurns } from "./use-turns.ts";

/** A conversation with the model that the page watches. */
export function Chat({ model, apiKey }: { model: string; apiKey: string }) {
  const [turns, setTurns] = useTurns();
  const [text, setText] = useState("");
  const [thinks, setThinks] = useState(true);
  const [live, setLive] = useState<AbortController>();
  const log = useRef<HTMLDivElement>(null);
  const follows = useRef(true);

  useEffect(() => {
    if (follows.current) log.current?.scrollTo({ top: log.current.scrollHeight });
  }, [turns]);

  const askAfter = async (before: readonly Turn[], question: string) => {
    if (live || question.trim() === "") return;
    const stop = new AbortController();
    follows.current = true;
    setLive(stop);
    const asked = { model, apiKey, thinks, before, text: question, signal: stop.signal };
    for await (const turn of converse(asked)) setTurns([...before, turn]);
    setLive(undefined);
  };
  const send = () => {
    if (live || text.trim() === "") return;
    setText("");
    void askAfter(turns, text);
  };
  const askAgain = () => void askAfter(turns.slice(0, -1), turns.at(-1)?.question ?? "");

  return (
    <section class="panel chat" aria-labelledby="chat">
      <div class="chat-head">
        <h2 id="chat">Chat with {model}</h2>
        <button
          type="button"
          class="quiet"
          disabled={turns.length === 0}
          onClick={() => {
            live?.abort();
            setTurns([]);
          }}
        >
          New chat
        </button>
      </div>
      <div
        class="log"
        ref={log}
        role="log"
        tabIndex={0}
        aria-label="Conversation"
        aria-busy={live !== undefined}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
          follows.current = scrollHeight - scrollTop - clientHeight < 40;
        }}
      >
        {turns.length === 0 && <p class="dim">Ask something and watch it pass through.</p>}
        {turns.map((turn, index) => (
          <Exchange
            key={index}
            turn={turn}
            onAgain={!live && index === turns.length - 1 ? askAgain : undefined}
          />
        ))}
      </div>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label class="hidden" for="question">
          Message
        </label>
        <textarea
          id="question"
          rows={2}
          placeholder={`Message ${model}`}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
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
            <button type="submit" disabled={text.trim() === ""}>
              Send
            </button>
          )}
        </div>
      </form>
    </section>
  );
}
