/**
 * Nothing is lost: schedules of chaos, drawn from seeds, in which ranks and nodes die, fall silent and lose
 * each other, steps fail, clients leave and stores are damaged, while requests of every kind are answered.
 * Every finished answer is compared with that of one undisturbed rank. Ends with status 1 if a token
 * differs, a request fails while a rank is left, one hangs, or pages are left in use.
 *
 *   npm run soak:chaos -- [schedules] [seed]   by default 10000 1
 *
 * A schedule that fails is run again by its own seed: `npm run soak:chaos -- 1 SEED`.
 */
import { drawSchedule } from "./chaos-schedule.ts";
import { chaosConfig, runSchedule } from "./virtual-chaos-fixtures.ts";

const [count = "10000", first = "1"] = process.argv.slice(2);
const config = await chaosConfig();
const sums = {
  schedules: 0,
  failing: 0,
  finished: 0,
  cancelled: 0,
  resumed: 0,
  recomputedTokens: 0,
  lostRanks: 0,
};
const began = performance.now();
const tell = () => {
  const seconds = Math.round((performance.now() - began) / 1000);
  console.log(JSON.stringify({ ...sums, seconds }));
};
for (let i = 0; i < Number(count); i++) {
  const schedule = drawSchedule(Number(first) + i);
  const { problems, ...counts } = await runSchedule(schedule, config);
  sums.schedules++;
  for (const [name, value] of Object.entries(counts)) sums[name as keyof typeof counts] += value;
  if (problems.length > 0) {
    sums.failing++;
    const { seed, topology, nodes, cache, mishaps } = schedule;
    console.log(
      JSON.stringify({
        again: `npm run soak:chaos -- 1 ${seed}`,
        problems,
        topology,
        nodes,
        cache,
        mishaps,
      }),
    );
  }
  if (sums.schedules % 1000 === 0) tell();
}
if (sums.schedules % 1000 > 0) tell();
process.exitCode = sums.failing === 0 ? 0 : 1;
