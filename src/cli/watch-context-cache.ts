import type { Logger } from "pino";
import type { Clock } from "../cluster/index.ts";
import type { Engine } from "../engine/index.ts";
import { ContextCacheWatch } from "../gateway/index.ts";

/** Milliseconds between two looks at the ranks' context caches. */
const WATCH_MS = 5000;

/** Has the log say when stores give trouble; returns what ends it. */
export function watchContextCache(engine: Engine, log: Logger, clock: Clock): () => void {
  const watch = new ContextCacheWatch(log);
  let isOver = false;
  let cancel = () => {};
  const lookLater = () => {
    cancel = clock.after(WATCH_MS, async () => {
      // An engine that has ended says so itself.
      const stats = await engine.rankStats().catch(() => []);
      watch.look(stats);
      if (!isOver) lookLater();
    });
  };
  lookLater();
  return () => {
    isOver = true;
    cancel();
  };
}
