/** One file of the hub, resumed wherever a connection was cut. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { HubError, refusal, type HubFile } from "./hub-files.ts";

export interface DownloadOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Silence after which a connection is given up. */
  readonly stallMs: number;
  /** @throws the signal's reason once that is aborted */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Hears of bytes that came, and with a negative number of those that were thrown away. */
  readonly onBytes: (bytes: number) => void;
}

/** Connections in a row that bring nothing before a file is given up. */
const FRUITLESS = 6;
/** Before another try: this, doubled by each in a row. */
const WAIT_MS = 500;

/** Before another try, unless the signal is aborted, whose reason is then thrown. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

/** Bytes of a file that lie here, of a download that was cut. */
export async function downloadedBytes(blob: string): Promise<number> {
  for (const path of [blob, incomplete(blob)]) {
    const size = await stat(path).then(
      (stats) => stats.size,
      () => 0,
    );
    if (size > 0) return size;
  }
  return 0;
}

const incomplete = (blob: string) => `${blob}.incomplete`;

/** Leaves the file's bytes at `blob`, whose checksum is then right. @throws HubError */
export async function downloadFile(
  file: HubFile,
  blob: string,
  options: DownloadOptions,
): Promise<void> {
  if ((await downloadedBytes(blob)) === file.bytes && (await isFile(blob))) return;
  const part = incomplete(blob);
  for (const last of [false, true]) {
    await fetchAll(file, part, options);
    const checksum = await checksumOf(part, file);
    if (checksum === file.checksum) return rename(part, blob);
    await rm(part);
    options.onBytes(-file.bytes);
    if (last) {
      throw new HubError(
        `${options.url}: expected the checksum ${file.checksum}, got ${checksum}, twice`,
      );
    }
  }
}

const isFile = (path: string) =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );

async function fetchAll(file: HubFile, part: string, options: DownloadOptions): Promise<void> {
  const handle = await open(part, "a+");
  try {
    let fruitless = 0;
    for (let have = await expectNoMore(handle, file, options); have < file.bytes;) {
      const before = have;
      let reason: Error | undefined;
      try {
        await fetchRest(file, have, handle, options);
      } catch (error) {
        if (error instanceof HubError || options.signal.aborted) throw error;
        reason = error as Error;
      }
      have = (await handle.stat()).size;
      fruitless = have > before ? 0 : fruitless + 1;
      if (fruitless === FRUITLESS) {
        const why = reason ? `: ${(reason.cause as Error)?.message ?? reason.message}` : "";
        throw new HubError(
          `${options.url}: no more bytes came after ${have} of ${file.bytes}${why}`,
        );
      }
      if (have < file.bytes && fruitless > 0) {
        await options.wait(WAIT_MS * 2 ** fruitless, options.signal);
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Bytes that are there; none of a file that has become longer than it should be. */
async function expectNoMore(handle: FileHandle, file: HubFile, { onBytes }: DownloadOptions) {
  const { size } = await handle.stat();
  if (size <= file.bytes) return size;
  await handle.truncate(0);
  onBytes(-size);
  return 0;
}

/** Appends what one connection brings. */
async function fetchRest(
  file: HubFile,
  have: number,
  handle: FileHandle,
  options: DownloadOptions,
): Promise<void> {
  const { url, headers, stallMs, onBytes } = options;
  const stalled = new AbortController();
  const stall = () => stalled.abort(new Error(`nothing came for ${stallMs / 1000} s`));
  const timer = setTimeout(stall, stallMs);
  try {
    const signal = AbortSignal.any([options.signal, stalled.signal]);
    // Compressed, a range would be one of other bytes.
    const asked = { ...headers, "accept-encoding": "identity", range: `bytes=${have}-` };
    const response = await fetch(url, { headers: asked, signal });
    if (!response.ok || !response.body) {
      if (response.status === 429 || response.status >= 500) throw new Error(`${response.status}`);
      throw new HubError(refusal(response.status, url, file.path));
    }
    let at = startOf(response, have);
    if (at < have) {
      await handle.truncate(at);
      onBytes(at - have);
    }
    for await (const chunk of response.body) {
      timer.refresh();
      // A server that says more than it should is not believed: the checksum decides.
      const bytes = (chunk as Uint8Array).subarray(0, file.bytes - at);
      await handle.appendFile(bytes);
      at += bytes.length;
      onBytes(bytes.length);
      if (at === file.bytes) break;
    }
  } finally {
    clearTimeout(timer);
    stalled.abort();
  }
}

/** Where a response's bytes begin: at the range's start, or at the file's where ranges are not served. */
function startOf(response: Response, have: number): number {
  const range = response.headers.get("content-range");
  const start = /^bytes (\d+)-/.exec(range ?? "")?.[1];
  if (response.status !== 206) return 0;
  if (Number(start) === have) return have;
  throw new Error(`asked for bytes from ${have}, got the range ${range}`);
}

/** As the hub says it: git's of small files, SHA-256 of large ones. */
async function checksumOf(path: string, { checksum, bytes }: HubFile): Promise<string> {
  const isGit = checksum.length === 40;
  const hash = createHash(isGit ? "sha1" : "sha256");
  if (isGit) hash.update(`blob ${bytes}\0`);
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
