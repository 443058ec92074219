/** Answers on their way to a client: server-sent events, one generation a stream, or whole. */
import { writeJson } from "../json-source.ts";

export const eventStreamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
};

/** `named`: an event has its `type` as its name; `plain`: none has, and the last is `[DONE]`. */
export type EventFraming = "named" | "plain";

export interface AnswerOptions {
  /** Silence after which a comment or a blank line is sent, so that nobody on the way gives up. */
  readonly keepAliveMs: number;
  /** The error's body for an answer that has begun; undefined when nobody is left to tell. */
  readonly describeError: (error: unknown) => object | undefined;
  /** The client has left. */
  readonly onLeave: () => void;
}

export interface EventStreamOptions extends AnswerOptions {
  readonly framing: EventFraming;
  /** How long what is ready may wait for the client to read, in milliseconds. */
  readonly unreadMs: number;
  /** It has waited for longer. */
  readonly onUnread: () => void;
}

const encoder = new TextEncoder();

/**
 * Chunks as they come. Waits for the first line, so that a failure before it still
 * has a status of its own; later ones are an `error` event. A chunk is asked for when the client
 * has room for it, so a slow client holds back its own stream and nothing else.
 */
export async function eventStream(
  chunks: AsyncGenerator<object>,
  options: EventStreamOptions,
): Promise<Response> {
  const lines = framed(chunks, options);
  const first = await lines.next();
  let left = false;
  let next: Promise<IteratorResult<string>> | undefined = Promise.resolve(first);
  let unread: NodeJS.Timeout | undefined;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(unread);
        try {
          const { done, value } = await (next ?? lines.next());
          next = undefined;
          if (left) return;
          if (done) controller.close();
          else controller.enqueue(encoder.encode(value));
          unread = done ? undefined : setTimeout(options.onUnread, options.unreadMs).unref();
        } catch (error) {
          if (left) return;
          const told = options.describeError(error);
          if (told) controller.enqueue(encoder.encode(frame(told, options.framing)));
          controller.close();
        }
      },
      cancel() {
        clearTimeout(unread);
        left = true;
        options.onLeave();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: eventStreamHeaders });
}

/**
 * An answer that comes whole. One that takes its time has its status before it is known, and a blank
 * line now and then, which JSON may begin with: clients and proxies give up what is silent for minutes.
 */
export async function wholeAnswer(
  answer: Promise<object>,
  { keepAliveMs, describeError, onLeave }: AnswerOptions,
): Promise<Response> {
  if (await settlesWithin(answer, keepAliveMs)) return jsonResponse(writeJson(await answer));
  const text = answer.then(
    (whole) => writeJson(whole),
    (error) => JSON.stringify(describeError(error) ?? {}),
  );
  let left = false;
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => controller.enqueue(encoder.encode("\n")),
      async pull(controller) {
        const settled = await settlesWithin(text, keepAliveMs);
        if (left) return;
        controller.enqueue(encoder.encode(settled ? await text : "\n"));
        if (settled) controller.close();
      },
      cancel() {
        left = true;
        onLeave();
      },
    },
    { highWaterMark: 0 },
  );
  return jsonResponse(body);
}

const jsonResponse = (body: string | ReadableStream<Uint8Array>) =>
  new Response(body, { headers: { "content-type": "application/json" } });

async function* framed(
  chunks: AsyncGenerator<object>,
  { framing, keepAliveMs }: EventStreamOptions,
) {
  try {
    for (;;) {
      const next = chunks.next();
      while (!(await settlesWithin(next, keepAliveMs))) yield ": keep-alive\n\n";
      const { done, value } = await next;
      if (done) break;
      yield frame(value, framing);
    }
    if (framing === "plain") yield "data: [DONE]\n\n";
  } finally {
    await chunks.return(undefined);
  }
}

function frame(value: object, framing: EventFraming): string {
  const data = `data: ${JSON.stringify(value)}\n\n`;
  return framing === "named" ? `event: ${(value as { type: string }).type}\n${data}` : data;
}

function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), milliseconds);
    const settled = () => {
      clearTimeout(timer);
      resolve(true);
    };
    promise.then(settled, settled);
  });
}
