import { useState } from "preact/hooks";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { expertsByRank, imbalance, recentChoices, type PlacedExpert } from "./expert-loads.ts";
import { brief } from "./format.ts";

/** The experts of one layer over the ranks of one unit, by how often they are chosen. */
export function Experts({ history }: { history: readonly StatusSnapshot[] }) {
  const [chosenUnit, setUnit] = useState<number>();
  const [layerIndex, setLayer] = useState(0);
  const units = history.at(-1)?.units ?? [];
  const sharing = units.flatMap(({ experts }, index) => (experts.length > 0 ? [index] : []));
  if (sharing.length === 0) {
    return (
      <section class="panel" aria-labelledby="experts">
        <h2 id="experts">Experts</h2>
        <p class="dim">Every rank holds all experts: nothing is dispatched or counted.</p>
      </section>
    );
  }
  const unitIndex = chosenUnit ?? sharing[sharing.length - 1];
  const unit = units[unitIndex];
  const layer = unit.experts[layerIndex];
  const { choices, recent } = recentChoices(
    history,
    (status) => status.units[unitIndex]?.experts[layerIndex],
  );
  const ranks = expertsByRank(unit, layer, choices);
  const most = Math.max(1, ...ranks.flat().map(({ load }) => load));
  return (
    <section class="panel" aria-labelledby="experts">
      <div class="experts-head">
        <h2 id="experts">Experts</h2>
        <label>
          Unit{" "}
          <select
            value={unitIndex}
            onChange={(event) => setUnit(Number(event.currentTarget.value))}
          >
            {sharing.map((index) => (
              <option key={index} value={index}>
                {units[index].role} {nameOf(units, index)}
              </option>
            ))}
          </select>
        </label>
        <label>
          Layer {layer.layer}{" "}
          <input
            type="range"
            min={0}
            max={unit.experts.length - 1}
            value={layerIndex}
            onInput={(event) => setLayer(Number(event.currentTarget.value))}
          />
        </label>
        <p class="dim">
          {recent ? "last 10 s" : "since the start"} · fullest rank / mean{" "}
          <b>{imbalance(ranks).toFixed(2)}</b>
        </p>
      </div>
      <div class="expert-ranks">
        {ranks.map((experts, index) => (
          <Strip key={index} rank={unit.ranks[index].rank} experts={experts} most={most} />
        ))}
      </div>
      <p class="note">
        One square is a physical expert; the fuller its colour, the more tokens chose it. A ring
        marks one that has replicas, which are taken to share their load evenly.
      </p>
    </section>
  );
}

/** The number of a unit among those of its role. */
function nameOf(units: readonly { role: string }[], index: number): number {
  return units.slice(0, index).filter(({ role }) => role === units[index].role).length;
}

function Strip(props: { rank: number; experts: readonly PlacedExpert[]; most: number }) {
  const { rank, experts, most } = props;
  const total = experts.reduce((sum, { load }) => sum + load, 0);
  return (
    <div class="expert-rank" role="img" aria-label={`rank ${rank}: ${brief(total)} choices`}>
      <p class="dim">
        rank {rank} <b>{brief(total)}</b>
      </p>
      <ol>
        {experts.map(({ logical, replicas, load }, slot) => (
          <li
            key={slot}
            class={replicas > 1 ? "replica" : ""}
            style={{ "--heat-share": `${(80 * load) / most}%` }}
            title={`expert ${logical}: ${brief(load)} choices${replicas > 1 ? `, one of ${replicas} replicas` : ""}`}
          >
            {logical}
          </li>
        ))}
      </ol>
    </div>
  );
}
