import type { RankStatus } from "../src/gateway/status/status-snapshot.ts";
import { brief, count, share } from "./format.ts";

/** A rank: filled by its running sequences, with its KV pool along the bottom. */
export function RankCell({ rank, full }: { rank: RankStatus; full: number }) {
  const { pages, running, waiting } = rank;
  const speed = rank.promptTokensPerSecond + rank.generatedTokensPerSecond;
  const says =
    `rank ${rank.rank} on node ${rank.node}${rank.lost ? " is lost" : ""}: ${running} running, ${waiting} waiting, ` +
    `${brief(speed)} tokens/s, ${count(pages.inUse)} of ${count(pages.total)} pages in use, ` +
    `${count(pages.cached)} kept for reuse`;
  const part = (value: number) => `${pages.total === 0 ? 0 : (100 * value) / pages.total}%`;
  return (
    <li
      class={rank.lost ? "rank lost" : "rank"}
      title={says}
      style={{ "--load": `${rank.lost ? 0 : Math.min(100, (100 * running) / full)}%` }}
    >
      <span class="rank-name">
        rank {rank.rank}
        {rank.node > 0 && <small> node {rank.node}</small>}
      </span>
      <b>{rank.lost ? "✕" : running}</b>
      <span class="seats" data-station={rank.rank} />
      <span class="rank-detail">
        {rank.lost ? (
          <strong>lost</strong>
        ) : (
          <>
            <span>{brief(speed)} tok/s</span>
            <span>
              {waiting > 0 ? `${waiting} waiting` : `KV ${share(pages.inUse, pages.total)}`}
            </span>
          </>
        )}
      </span>
      <span class="pool" aria-hidden="true">
        <i class="in-use" style={{ width: part(pages.inUse) }} />
        <i class="cached" style={{ width: part(pages.cached) }} />
      </span>
    </li>
  );
}
