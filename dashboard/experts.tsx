import { useState } from "preact/hooks";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import {
  expertGroups,
  imbalance,
  loadOf,
  recentChoices,
  type ExpertGroup,
} from "./expert-loads.ts";
import { brief } from "./format.ts";

/** The experts of one layer of one unit, by how often they are chosen. */
export function Experts({ recent }: { recent: readonly StatusSnapshot[] }) {
  const [chosenUnit, setUnit] = useState<number>();
  const [layerIndex, setLayer] = useState(0);
  const units = recent.at(-1)?.units ?? [];
  const routed = units.flatMap(({ experts }, index) => (experts.length > 0 ? [index] : []));
  if (routed.length === 0) return null;
  const unitIndex = chosenUnit ?? routed[routed.length - 1];
  const unit = units[unitIndex];
  const layer = unit.experts[layerIndex];
  const { choices, recent: isRecent } = recentChoices(recent, unitIndex, layerIndex);
  const groups = expertGroups(unit, layer, choices);
  const most = Math.max(1, ...groups.flatMap(({ experts }) => experts.map(({ load }) => load)));
  const isQuiet = choices.every((value) => value === 0);
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
            {routed.map((index) => (
              <option key={index} value={index}>
                {units[index].role} {units[index].unit}
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
          {isQuiet ? "none chosen yet" : isRecent ? "last 10 s" : "since the start"}
          {unit.sharesExperts && !isQuiet && (
            <>
              {" "}
              · fullest rank / mean <b>{imbalance(groups).toFixed(2)}</b>
            </>
          )}
        </p>
      </div>
      <div class="expert-ranks" style={{ "--slots": groups[0].experts.length }}>
        {groups.map((group) => (
          <Strip key={group.name} group={group} most={most} />
        ))}
      </div>
      <p class="note">
        One square is an expert; the fuller its colour, the more tokens chose it.{" "}
        {unit.sharesExperts
          ? "A ring marks one that has replicas, which are taken to share their load evenly."
          : "Every rank holds all experts, so none is dispatched to another."}
      </p>
    </section>
  );
}

function Strip({ group, most }: { group: ExpertGroup; most: number }) {
  const { name, experts } = group;
  const total = brief(loadOf(experts));
  return (
    <div class="expert-rank" role="img" aria-label={`${name}: ${total} choices`}>
      <p class="dim">
        {name} <b>{total}</b>
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
