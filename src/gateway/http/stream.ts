/** Server-sent events, one generation a stream. */

export const eventStreamHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
};

export interface EventStreamOptions {
  /** Silence after which a comment is sent, so that nobody on the way gives up. */
  readonly keepAliveMs: number;
  /** The error's body for a stream that has begun; undefined when nobody is left to tell. */
  readonly describeError: (error: unknown) => object | undefined;
  /** The client has left. */
  readonly onLeave: () => void;
  /** How long what is ready may wait for the client to read, in milliseconds. */
  readonly unreadMs: number;
  /** It has waited for longer. */
  readonly onUnread: () => void;
}

/**
 * Chunks as they come, then `[DONE]`. Waits for the first line, so that a failure before it still
 * has a status of its own; later ones are an `error` event. A chunk is asked for when the client
 * has room for it, so a slow client holds back its own stream and nothing else.
 */
export async function eventStream(
  chunks: AsyncGenerator<object>,
  options: EventStreamOptions,
): Promise<Response> {
  const lines = framed(chunks, options.keepAliveMs);
  const first = await lines.next();
  const encoder = new TextEncoder();
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
          if (told) controller.enqueue(encoder.encode(`data: ${JSON.stringify(told)}\n\n`));
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

async function* framed(chunks: AsyncGenerator<object>, keepAliveMs: number) {
  try {
    for (;;) {
      const next = chunks.next();
      while (!(await settlesWithin(next, keepAliveMs))) yield ": keep-alive\n\n";
      const { done, value } = await next;
      if (done) break;
      yield `data: ${JSON.stringify(value)}\n\n`;
    }
    yield "data: [DONE]\n\n";
  } finally {
    await chunks.return(undefined);
  }
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
