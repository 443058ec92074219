/**
 * Nothing is lost: schedules of chaos, drawn from seeds, in which ranks and nodes die, fall silent, lose each
 * other and come again, units are started and drained, experts moved, steps fail, clients leave and stores are
 * damaged, while requests of every kind are answered.
 * Every finished answer is compared with that of one undisturbed rank. Ends with status 1 if a token
 * differs, a request fails while a rank is left, one hangs, pages are left in use, or a bill is lost.
 *
 *   npm run soak:chaos -- [schedules] [seed]                by default 10000 1, in one thread, two of a seed
 *   npm run soak:chaos -- --model [schedules] [seed]        by default 300 1, with a tiny checkpoint
 *   npm run soak:chaos -- --processes [schedules] [seed]    by default 300 1, on calf
 *
 * What fails is run again by its own seed, which is printed with it.
 */
import { drawLosses, type ChaosSchedule } from "./chaos-schedule.ts";
import { runProcesses, withCalmServer } from "./process-chaos.ts";
import { drawRecovery } from "./recovery-schedule.ts";
import {
  runSchedule,
  scriptedModel,
  tinyModel,
  type ChaosModel,
} from "./virtual-chaos-fixtures.ts";

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

async function soakVirtual(tally: Tally, { model, kinds }: Soak, count: number, first: number) {
  for (let seed = first; tally.schedules < count; seed++) {
    for (const draw of kinds) {
      const { problems, ...counts } = await runSchedule(draw(seed), model);
      tally.add(seed, problems, counts);
      if (tally.schedules % 1000 === 0) tally.tell();
    }
  }
}

interface Soak {
  readonly model: ChaosModel;
  /** Of each seed. */
  readonly kinds: readonly ((seed: number) => ChaosSchedule)[];
}

const scripted = async (): Promise<Soak> => ({
  model: await scriptedModel(),
  kinds: [drawLosses, drawRecovery],
});

/** On the tiny checkpoint every rank has all experts. */
const tiny = async (): Promise<Soak> => ({
  model: await tinyModel(),
  kinds: [(seed) => ({ ...drawLosses(seed), sharesExperts: false })],
});

async function soakProcesses(tally: Tally, count: number, first: number): Promise<void> {
  await withCalmServer(async (calm) => {
    for (let seed = first; tally.schedules < count; seed++) {
      try {
        const { problems, schedules, counts } = await runProcesses(seed, calm);
        tally.add(seed, problems, { ...counts, schedules });
      } catch (error) {
        tally.add(seed, [(error as Error).message], {});
      }
      tally.tell();
    }
  });
}

const given = process.argv.slice(2);
const flag = given.find((argument) => argument.startsWith("--"));
const [count, first = "1"] = given.filter((argument) => argument !== flag);
const tally = new Tally(`npm run soak:chaos -- ${flag === undefined ? "2" : `${flag} 1`}`);
if (flag === "--processes") await soakProcesses(tally, Number(count ?? 300), Number(first));
else if (flag === "--model")
  await soakVirtual(tally, await tiny(), Number(count ?? 300), Number(first));
else await soakVirtual(tally, await scripted(), Number(count ?? 10_000), Number(first));
tally.tell();
process.exitCode = tally.isClean ? 0 : 1;
