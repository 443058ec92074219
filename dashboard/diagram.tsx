import type { StatusSnapshot, UnitStatus } from "../src/gateway/status/status-snapshot.ts";
import { brief, bytes } from "./format.ts";
import { KvCache } from "./kv-cache.tsx";
import { RankCell } from "./rank-cell.tsx";

/** A cell is full at the most sequences that a rank of its role ran in so many snapshots. */
const REMEMBERED = 60;

const titles = { prefill: "Prefill", decode: "Decode", combined: "Prefill and decode" } as const;
type Role = UnitStatus["role"];

/** DeepSeek's diagram: API server, prefill, decode, and the KV cache beneath. */
export function Diagram(props: { status: StatusSnapshot; history: readonly StatusSnapshot[] }) {
  const { status, history } = props;
  const { requests, tokensPerSecond: rate, units } = status;
  const recent = history.slice(-REMEMBERED);
  const input = rate.hit + rate.miss;
  const combined = units.some(({ role }) => role === "combined");
  const roles: readonly Role[] = combined ? ["combined"] : ["prefill", "decode"];
  const service = (role: Role) => (
    <Service
      role={role}
      units={units.filter((unit) => unit.role === role)}
      full={mostRunning(recent, role)}
    />
  );
  return (
    <section class="panel diagram" aria-label="The cluster">
      <div class="box api">
        <h2>API server</h2>
        <p>
          <b>{requests.waiting}</b> waiting <b>{requests.prefill}</b> in prefill{" "}
          <b>{requests.decode}</b> in decode
        </p>
      </div>
      <div class="wires">
        <Wire way="down" busy={input > 0} label={`${brief(input)} prompt tokens/s`} />
        <Wire way="up" busy={rate.output > 0} label={`${brief(rate.output)} tokens/s`} />
      </div>
      <div class={`services ${combined ? "one" : "two"}`}>
        {service(roles[0])}
        {!combined && (
          <>
            <Wire
              way="right"
              busy={requests.prefill > 0}
              label={requests.prefill > 0 ? `${requests.prefill} on the way` : "hand-over"}
            />
            {service("decode")}
          </>
        )}
      </div>
      <div class="wires">
        <Wire way="up" busy={rate.hit > 0} label={`${brief(rate.hit)} tokens/s read`} />
        <Wire way="down" busy={input + rate.output > 0} label="new blocks" />
      </div>
      <KvCache status={status} />
    </section>
  );
}

function Service(props: { role: Role; units: readonly UnitStatus[]; full: number }) {
  return (
    <div class={`box service ${props.role}`}>
      <h2>{titles[props.role]}</h2>
      {props.units.map((unit, index) => (
        <Unit key={index} unit={unit} number={index} full={props.full} />
      ))}
    </div>
  );
}

function Unit(props: { unit: UnitStatus; number: number; full: number }) {
  const { role, ranks, experts } = props.unit;
  const exchanged = ranks.reduce((sum, rank) => sum + rank.bytesPerSecond, 0);
  return (
    <section class="unit" aria-label={`${role} unit ${props.number}`}>
      <p class="dim">
        unit {props.number} · {ranks.length === 1 ? "1 rank" : `${ranks.length} ranks`}
        {experts.length > 0 && ` · EP exchange ${bytes(exchanged)}/s`}
      </p>
      <ul class={ranks.length > 16 ? "ranks many" : "ranks"}>
        {ranks.map((rank) => (
          <RankCell key={rank.rank} rank={rank} full={props.full} />
        ))}
      </ul>
    </section>
  );
}

/** A connection; it moves while something passes. */
function Wire(props: { way: "up" | "down" | "right"; busy: boolean; label: string }) {
  return (
    <div class={`wire ${props.way} ${props.busy ? "busy" : ""}`}>
      <i aria-hidden="true" />
      <span>{props.label}</span>
    </div>
  );
}

function mostRunning(history: readonly StatusSnapshot[], role: Role): number {
  const running = history.flatMap(({ units }) =>
    units.flatMap((unit) => (unit.role === role ? unit.ranks.map((rank) => rank.running) : [])),
  );
  return running.reduce((most, each) => Math.max(most, each), 1);
}
