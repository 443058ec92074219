import type { StatusSnapshot, UnitStatus } from "../src/gateway/status/status-snapshot.ts";
import { unitImbalance } from "./expert-loads.ts";
import { Flow } from "./flow.tsx";
import { brief, bytes, share } from "./format.ts";
import type { Sample } from "./history.ts";
import { KvCache } from "./kv-cache.tsx";
import { LoadButton } from "./load-button.tsx";
import { RankCell } from "./rank-cell.tsx";
import { stateOf, type UnitState } from "./health.ts";

/** A cell is full at the most sequences that a rank of its role ran in so many samples. */
const REMEMBERED = 60;

const titles = { prefill: "Prefill", decode: "Decode", combined: "Prefill and decode" } as const;
type Role = UnitStatus["role"];

interface Seen {
  readonly status: StatusSnapshot;
  readonly recent: readonly StatusSnapshot[];
  readonly samples: readonly Sample[];
}

/** DeepSeek's diagram: API server, prefill, decode, and the KV cache beneath. */
export function Diagram(props: Seen & { apiKey: string }) {
  const { requests, resumed, tokensPerSecond: rate, units } = props.status;
  const input = rate.hit + rate.miss;
  const combined = units.some(({ role }) => role === "combined");
  return (
    <section class="panel diagram" aria-label="The cluster">
      <div class="box api">
        <h2>API server</h2>
        <p>
          <b>{requests.waiting}</b> waiting <b>{requests.prefill}</b> in prefill{" "}
          <b>{requests.decode}</b> in decode
          {resumed.requests > 0 && (
            <span title={`${brief(resumed.recomputedTokens)} tokens were computed again`}>
              {" "}
              <b>{brief(resumed.requests)}</b> outlived their ranks
            </span>
          )}
        </p>
        <LoadButton model={props.status.models[0]} apiKey={props.apiKey} />
        <span class="seats" data-station="api" />
      </div>
      <div class="wires">
        <Wire name="prompts" way="down" label={input > 0 && `${brief(input)} prompt tokens/s`}>
          prompts
        </Wire>
        <Wire name="answers" way="up" label={rate.output > 0 && `${brief(rate.output)} tokens/s`}>
          answers
        </Wire>
      </div>
      <div class={`services ${combined ? "one" : "two"}`}>
        {combined ? (
          <Service role="combined" {...props} />
        ) : (
          <>
            <Service role="prefill" {...props} />
            <HandOver units={units} />
            <Service role="decode" {...props} />
          </>
        )}
      </div>
      <div class="wires">
        <Wire name="hits" way="up" label={rate.hit > 0 && `${brief(rate.hit)} cached tokens/s`}>
          cached prefixes
        </Wire>
        <Wire
          name="blocks"
          way="down"
          label={rate.miss + rate.output > 0 && `${brief(rate.miss + rate.output)} new tokens/s`}
        >
          new blocks
        </Wire>
      </div>
      <KvCache recent={props.recent} />
      <Flow status={props.status} />
    </section>
  );
}

function Service({ role, status, recent, samples }: Seen & { role: Role }) {
  const fullest = samples.slice(-REMEMBERED).map((sample) => sample.fullest[role] ?? 0);
  const full = Math.max(1, ...fullest);
  const units = status.units.flatMap((unit, index) =>
    unit.role === role ? [{ unit, index }] : [],
  );
  return (
    <div class={`box service ${role}`}>
      <h2>{titles[role]}</h2>
      {units.map(({ unit, index }) => (
        <Unit key={unit.unit} unit={unit} full={full} imbalance={unitImbalance(recent, index)} />
      ))}
    </div>
  );
}

function Unit(props: { unit: UnitStatus; full: number; imbalance: number | undefined }) {
  const { unit, full, imbalance } = props;
  const { unit: number, role, ranks, sharesExperts, overlapped } = unit;
  const exchanged = ranks.reduce((sum, rank) => sum + rank.bytesPerSecond, 0);
  const state = stateOf(unit);
  return (
    <section class="unit" aria-label={`${role} unit ${number}`}>
      <p class="dim unit-line">
        <span>unit {number}</span>
        {state !== "serving" && <b class={`state ${classOf(state)}`}>{state}</b>}
        <span>{ranks.length === 1 ? "1 rank" : `${ranks.length || "no"} ranks`}</span>
        {sharesExperts && (
          <>
            <span title="Rows sent to other ranks' experts, and expert rows returned">
              exchange <b>{bytes(exchanged)}/s</b>
            </span>
            <span title="Steps whose communication was hidden behind a second micro-batch">
              overlap <b>{overlapped === null ? "–" : share(overlapped, 1)}</b>
            </span>
            <span title="Expert load of the fullest rank over the mean, in the last 10 s; 1 is balance">
              imbalance <b>{imbalance === undefined ? "–" : imbalance.toFixed(2)}</b>
            </span>
          </>
        )}
      </p>
      <ul class={ranks.length > 16 ? "ranks many" : "ranks"}>
        {ranks.map((rank) => (
          <RankCell key={rank.rank} rank={rank} full={full} />
        ))}
      </ul>
    </section>
  );
}

const classOf = (state: UnitState) => (state.endsWith("lost") ? "lost" : "changing");

/** What prefill ranks send to decode ranks. */
function HandOver({ units }: { units: readonly UnitStatus[] }) {
  const rates = units.flatMap(({ ranks }) =>
    ranks.flatMap((rank) => rank.handedOverPerSecond ?? []),
  );
  const sum = (kind: "sequences" | "tokens" | "bytes") =>
    rates.reduce((total, rate) => total + rate[kind], 0);
  const busy = sum("bytes") > 0 || sum("sequences") > 0;
  const label = busy && (
    <>
      <b>{brief(sum("tokens"))}</b> tokens/s
      <br />
      {bytes(sum("bytes"))}/s
      <br />
      {brief(sum("sequences"))} requests/s
    </>
  );
  return (
    <Wire name="handover" way="right" label={label}>
      hand-over
    </Wire>
  );
}

/** A connection; it moves while something passes. */
function Wire(props: {
  name: string;
  way: "up" | "down" | "right";
  /** What passes; falsy: nothing. */
  label: preact.ComponentChildren;
  /** What would. */
  children: string;
}) {
  const { name, way, label, children } = props;
  return (
    <div class={`wire ${way} ${label ? "busy" : ""}`}>
      <i aria-hidden="true" data-wire={name} />
      <span>{label || children}</span>
    </div>
  );
}
