import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { count, share } from "./format.ts";

/** The pages of all ranks together, and what they saved. */
export function KvCache({ status }: { status: StatusSnapshot }) {
  const ranks = status.units.flatMap((unit) => unit.ranks);
  const sum = (kind: "total" | "inUse" | "cached") =>
    ranks.reduce((pages, rank) => pages + rank.pages[kind], 0);
  const [total, inUse, cached] = [sum("total"), sum("inUse"), sum("cached")];
  const { hit, miss } = status.tokens;
  const width = (pages: number) => ({ width: `${total === 0 ? 0 : (100 * pages) / total}%` });
  return (
    <div class="box kv-cache">
      <h2>KV cache</h2>
      <p>
        <b>{share(hit, hit + miss)}</b> of input was there already
      </p>
      <span class="pool" aria-hidden="true">
        <i class="in-use" style={width(inUse)} />
        <i class="cached" style={width(cached)} />
      </span>
      <p class="dim">
        <i class="key in-use" /> {count(inUse)} pages in use <i class="key cached" />{" "}
        {count(cached)} kept for reuse, of {count(total)}
      </p>
    </div>
  );
}
