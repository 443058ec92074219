import { mkdir } from "node:fs/promises";
import { downloadedBytes, downloadFile, type DownloadOptions, wait } from "./download.ts";
import { CachedModel, type HubPlaces } from "./hub-cache.ts";
import { credentials, type HubFile, listFiles } from "./hub-files.ts";
import type { HubModel } from "./hub-id.ts";

/** What a model's download is, before its first byte. */
export interface PullPlan {
  readonly commit: string;
  readonly files: readonly HubFile[];
  readonly bytes: number;
  /** Bytes that lie here already. */
  readonly have: number;
  /** Of weights, which memory is to hold. */
  readonly weightBytes: number;
  readonly folder: string;
}

export interface PullOptions {
  /** Hears the plan before the first byte; what it throws ends the pull. */
  readonly planned: (plan: PullPlan) => Promise<void>;
  /** Hears how many bytes there are now. */
  readonly onProgress: (have: number) => void;
  readonly signal: AbortSignal;
  readonly stallMs?: number;
  readonly wait?: DownloadOptions["wait"];
}

/** Files that are downloaded at a time. */
const AT_ONCE = 4;
const STALL_MS = 30_000;

/** Downloads a model into the hub's cache and returns its folder. @throws HubError */
export async function pullModel(
  model: HubModel,
  places: HubPlaces,
  options: PullOptions,
): Promise<string> {
  const { planned, signal, stallMs = STALL_MS } = options;
  const { commit, files } = await listFiles(model, places, signal);
  const cached = new CachedModel(places.cache, model);
  const different = [...new Map(files.map((file) => [file.checksum, file])).values()];
  const here = different.map(({ checksum }) => downloadedBytes(cached.blob(checksum)));
  let have = sum(await Promise.all(here));
  await mkdir(cached.blobs, { recursive: true });
  await planned({
    ...{ commit, files, have, folder: cached.folder },
    bytes: sum(different.map(({ bytes }) => bytes)),
    weightBytes: sum(files.map(({ path, bytes }) => (path.endsWith(".safetensors") ? bytes : 0))),
  });
  const headers = await credentials(places);
  const { organisation, name } = model;
  const failed = new AbortController();
  // The largest first, so that no long one is left at the end.
  const queue = different.sort((a, b) => b.bytes - a.bytes);
  const work = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const path = file.path.split("/").map(encodeURIComponent).join("/");
      await downloadFile(file, cached.blob(file.checksum), {
        ...{
          headers,
          stallMs,
          wait: options.wait ?? wait,
          signal: AbortSignal.any([signal, failed.signal]),
        },
        url: `${places.endpoint}/${organisation}/${name}/resolve/${commit}/${path}`,
        onBytes: (bytes) => options.onProgress((have += bytes)),
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } finally {
    failed.abort();
  }
  return cached.publish(commit, async (folder) => {
    for (const { path, checksum } of files) await cached.link(folder, path, checksum);
  });
}

const sum = (values: readonly number[]) => values.reduce((total, each) => total + each, 0);
