import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { diskOf, poolOf, type DiskState } from "./cache-state.ts";
import { brief, bytes, count, share } from "./format.ts";

/** The pages of all ranks together, what is kept outside of them, and what it saved. */
export function KvCache({ recent }: { recent: readonly StatusSnapshot[] }) {
  const now = recent.at(-1);
  if (!now) return null;
  const { total, inUse, cached } = poolOf(now);
  const { hit, miss } = now.tokens;
  const width = (pages: number) => ({ width: `${total === 0 ? 0 : (100 * pages) / total}%` });
  const disk = diskOf(recent);
  return (
    <div class="box kv-cache">
      <h2>KV cache</h2>
      {hit + miss > 0 && (
        <p>
          <b>{share(hit, hit + miss)}</b> of input was there already
        </p>
      )}
      <div class="store">
        <h3>Pool</h3>
        <span class="pool" aria-hidden="true">
          <i class="in-use" style={width(inUse)} />
          <i class="cached" style={width(cached)} />
        </span>
        <p class="dim facts">
          <span>
            <i class="key in-use" /> <b>{count(inUse)}</b> in use
          </span>
          <span>
            <i class="key cached" /> <b>{count(cached)}</b> kept for reuse
          </span>
          <span>
            <i class="key free" /> <b>{count(total - inUse - cached)}</b> free of {count(total)}{" "}
            pages
          </span>
        </p>
      </div>
      <div class="store">
        <h3>Disk</h3>
        {disk ? <Disk disk={disk} /> : <p class="dim">None: --cache-dir keeps blocks there.</p>}
      </div>
    </div>
  );
}

function Disk({ disk }: { disk: DiskState }) {
  const { hits, misses, lent, written, bytesWritten, reading, writing, troubles, bypassed } = disk;
  return (
    <p class="dim facts">
      {bypassed.length > 0 && <b class="state lost">{bypassed.join(" and ")} bypassed</b>}
      <span>
        <b>{brief(hits)}</b> of {brief(hits + misses)} blocks found
      </span>
      {lent > 0 && (
        <span>
          <b>{brief(lent)}</b> lent by decode ranks
        </span>
      )}
      <span>
        <b>{brief(written)}</b> written, {bytes(bytesWritten)}
      </span>
      <span>
        reading <b>{bytes(reading)}/s</b>, writing <b>{bytes(writing)}/s</b>
      </span>
      {troubles > 0 && (
        <span class="warns">
          <b>{brief(troubles)}</b> late, failed, dropped or no good
        </span>
      )}
    </p>
  );
}
