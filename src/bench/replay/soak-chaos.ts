/**
 * Nothing is lost: schedules of chaos, drawn from seeds, in which ranks and nodes die, fall silent and lose
 * each other, steps fail, clients leave and stores are damaged, while requests of every kind are answered.
 * Every finished answer is compared with that of one undisturbed rank. Ends with status 1 if a token
 * differs, a request fails while a rank is left, one hangs, pages are left in use, or a bill is lost.
 *
 *   npm run soak:chaos -- [schedules] [seed]                by default 10000 1, in one thread
 *   npm run soak:chaos -- --processes [schedules] [seed]    by default 300 1, on calf
 *
 * What fails is run again by its own seed, which is printed with it.
 */
import { drawSchedule } from "./chaos-schedule.ts";
import { runProcesses, withCalmServer } from "./process-chaos.ts";
import { chaosConfig, runSchedule } from "./virtual-chaos-fixtures.ts";

/** Prints problems as they come, and sums now and then. */
class Tally {
  readonly #sums: Record<string, number> = { schedules: 0, failing: 0 };
  readonly #began = performance.now();
  readonly #again: string;

  /** `again`: the command, up to the seed. */
  constructor(again: string) {
    this.#again = again;
  }

  get schedules(): number {
    return this.#sums["schedules"];
  }

  get isClean(): boolean {
    return this.#sums["failing"] === 0;
  }

  add(seed: number, problems: readonly string[], counts: Readonly<Record<string, number>>): void {
    const all = { schedules: 1, failing: problems.length > 0 ? 1 : 0, ...counts };
    for (const [name, count] of Object.entries(all)) {
      this.#sums[name] = (this.#sums[name] ?? 0) + count;
    }
    if (problems.length > 0)
      console.log(JSON.stringify({ again: `${this.#again} ${seed}`, problems }));
  }

  tell(): void {
    const seconds = Math.round((performance.now() - this.#began) / 1000);
    console.log(JSON.stringify({ ...this.#sums, seconds }));
  }
}

async function soakVirtual(count: number, first: number): Promise<Tally> {
  const tally = new Tally("npm run soak:chaos -- 1");
  const config = await chaosConfig();
  for (let seed = first; seed < first + count; seed++) {
    const { problems, ...counts } = await runSchedule(drawSchedule(seed), config);
    tally.add(seed, problems, counts);
    if (tally.schedules % 1000 === 0) tally.tell();
  }
  return tally;
}

async function soakProcesses(count: number, first: number): Promise<Tally> {
  const tally = new Tally("npm run soak:chaos -- --processes 1");
  await withCalmServer(async (calm) => {
    for (let seed = first; tally.schedules < count; seed++) {
      const { problems, ...counts } = await runProcesses(seed, calm);
      tally.add(seed, problems, counts);
      tally.tell();
    }
  });
  return tally;
}

const given = process.argv.slice(2);
const [count, first = "1"] = given.filter((argument) => argument !== "--processes");
const soak = given.includes("--processes")
  ? soakProcesses(Number(count ?? 300), Number(first))
  : soakVirtual(Number(count ?? 10_000), Number(first));
const tally = await soak;
tally.tell();
process.exitCode = tally.isClean ? 0 : 1;
