import type { Clock } from "../clock.ts";

const PERIOD_MS = 60_000;
const LINES = 20;

/** Says at most so many lines a minute, and how many it kept to itself before it says more. */
export function sparing(say: (line: string) => void, clock: Clock): (line: string) => void {
  let since = clock.now();
  let said = 0;
  return (line) => {
    if (clock.now() - since >= PERIOD_MS) {
      if (said > LINES) say(`${said - LINES} more like these in a minute`);
      since = clock.now();
      said = 0;
    }
    if (said++ < LINES) say(line);
  };
}
