/** What the hub says of a model's files. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { COMMIT, type HubPlaces } from "./hub-cache.ts";
import type { HubModel } from "./hub-id.ts";

/** A model, a revision or a file that the hub does not give. */
export class HubError extends Error {
  override readonly name = "HubError";
}

export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of files in large storage, else git's SHA-1 of the blob; also the blob's name in the cache. */
  readonly checksum: string;
}

export interface HubListing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

const sizeInBytes = z.int().nonnegative();

const answer = z.object({
  sha: z.string().regex(COMMIT),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: sizeInBytes,
      blobId: z.string().regex(/^[0-9a-f]{40}$/),
      lfs: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: sizeInBytes }).nullish(),
    }),
  ),
});

/** Weights in formats that are not read here, and what is for people's eyes. */
const UNUSED = /\.(bin|pt|pth|h5|msgpack|onnx|gguf|ot|tflite|png|jpe?g|gif|svg|webp|pdf|mp4)$/i;

/** A model's files in a revision. @throws HubError */
export async function listFiles(
  model: HubModel,
  places: HubPlaces,
  signal: AbortSignal,
): Promise<HubListing> {
  const { organisation, name, revision } = model;
  const path = `${organisation}/${name}`;
  const url = `${places.endpoint}/api/models/${path}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const response = await fetch(url, { headers: await credentials(places), signal }).catch(
    (cause: Error) => {
      if (signal.aborted) throw cause;
      const why = (cause.cause as Error | undefined)?.message || cause.message;
      throw new HubError(`${url}: the hub does not answer: ${why}`, { cause });
    },
  );
  if (!response.ok) throw new HubError(refusal(response.status, url, `${path}@${revision}`));
  const parsed = answer.safeParse(await response.json().catch(() => undefined));
  if (!parsed.success) {
    throw new HubError(`${url}: expected a list of files: ${parsed.error.issues[0].message}`);
  }
  const { sha: commit, siblings } = parsed.data;
  const files = siblings
    .filter(({ rfilename }) => !UNUSED.test(rfilename))
    .map(({ rfilename, size, blobId, lfs }) => {
      return {
        path: safePath(rfilename, url),
        bytes: lfs?.size ?? size,
        checksum: lfs?.sha256 ?? blobId,
      };
    });
  return { commit, files };
}

/** What a request for a model carries so that the hub knows who asks. */
export async function credentials(places: HubPlaces): Promise<Record<string, string>> {
  const kept = () => readFile(places.tokenFile, "utf8").catch(() => "");
  const token = (places.token ?? (await kept())).trim();
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}

export function refusal(status: number, url: string, what: string): string {
  if (status === 401 || status === 403) {
    return `${what}: the hub does not give it (${status}): accept its terms there, and set HF_TOKEN`;
  }
  if (status === 404) return `${what}: the hub has no such model or revision (${url})`;
  return `${url}: the hub answered ${status}`;
}

/** Nothing lies outside the model's folder, whatever the hub says. */
function safePath(path: string, url: string): string {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
    throw new HubError(`${url}: the file name ${JSON.stringify(path)} leaves the folder`);
  }
  return path;
}
