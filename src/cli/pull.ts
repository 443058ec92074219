import { availableMemory } from "../kernels/index.ts";
import { expectRoom, hubPlaces, parseHubModel, pullModel, type PullPlan } from "../model/index.ts";
import { amount } from "./amount.ts";
import { UsageError } from "./arguments.ts";
import { untilSignal } from "./shutdown.ts";

/** `daysix pull`: a model of the hub into the cache that Hugging Face's tools share. */
export async function pull(text: string): Promise<void> {
  const model = parseHubModel(text);
  if (!model) throw new UsageError(`pull: expected org/name or org/name@revision, got ${text}`);
  const signal = untilSignal("stopped; the next pull goes on from here");
  const bar = new ProgressBar(performance.now());
  const folder = await pullModel(model, hubPlaces(process.env), {
    signal,
    planned: async (plan) => {
      console.error(`daysix: ${describePlan(plan, availableMemory())}`);
      await expectRoom(plan.folder, plan.bytes - plan.have);
      bar.start(plan);
    },
    onProgress: (have) => bar.show(have, performance.now()),
  }).finally(() => bar.end());
  console.log(folder);
}

/** What comes, and whether memory will hold it. */
export function describePlan(
  { files, bytes, have, weightBytes }: PullPlan,
  available: number,
): string {
  const fits = weightBytes + 2 ** 30 <= available;
  return (
    `${amount(bytes)} in ${files.length} files` +
    (have > 0 ? `, of which ${amount(have)} are here` : "") +
    `; ${amount(weightBytes)} of weights ${fits ? "fit" : "do not fit"} in memory here ` +
    `(${amount(available)} available${fits ? "" : ": they would be read from the disk again and again"})`
  );
}

/** Time between two drawings. */
const DRAW_MS = 200;
const WIDTH = 24;

class ProgressBar {
  readonly #began: number;
  #bytes = 0;
  #hadAlready = 0;
  #drawn = 0;

  constructor(now: number) {
    this.#began = now;
  }

  start({ bytes, have }: PullPlan): void {
    this.#bytes = bytes;
    this.#hadAlready = have;
  }

  show(have: number, now: number): void {
    if (!process.stderr.isTTY || (now - this.#drawn < DRAW_MS && have < this.#bytes)) return;
    this.#drawn = now;
    const share = this.#bytes === 0 ? 1 : have / this.#bytes;
    const rate = (have - this.#hadAlready) / (now - this.#began);
    const left = rate > 0 ? `, ${Math.ceil((this.#bytes - have) / rate / 60_000)} min left` : "";
    const bar = "█".repeat(Math.round(share * WIDTH)).padEnd(WIDTH, "░");
    const speed = `${(rate / 1000).toFixed(1)} MB/s${left}`;
    process.stderr.write(
      `\r${bar} ${(100 * share).toFixed(0)} % of ${amount(this.#bytes)}, ${speed}\x1b[K`,
    );
  }

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}
