import { pipeline, Readable, Transform } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import type { BlobProblem, BlobStore } from "./blob-store.ts";
import type { StoreLimits } from "./eviction.ts";
import { MOST_KEY_BYTES, textOfKey } from "./key-text.ts";
import { openServer, optionalPackage, sharedKey } from "./server-store.ts";

const CONNECT_MS = 5000;
/** A server that is silent so long is not waited for, wherever in an answer: nobody waits longer for a block. */
const SILENCE_MS = 60_000;

/** Between two looks whether the key is still there. */
const KEY_LOOK_MS = 3_600_000;

/** Of what no block is: the key, and what is said of trouble. */
const MOST_WORDS = 64 * 1024;

type Sdk = typeof import("@aws-sdk/client-s3");

/**
 * Blobs as objects of an S3 bucket, under a prefix. A blob expires when it was written so long ago: S3
 * does not know when it was used. The bucket's lifecycle removes what has expired, and bounds its size.
 * Credentials and region come from where the AWS SDK looks for them.
 */
export class S3BlobStore implements BlobStore {
  readonly key: Uint8Array;
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #maxAgeMs: number;
  #keyLookedAt = -Infinity;

  /** @param url `s3://bucket[/prefix][?endpoint=http://host:port]`, the endpoint of a server that is not AWS's */
  static open(
    this: void,
    url: URL,
    { maxAgeMs }: StoreLimits,
    silenceMs = SILENCE_MS,
  ): Promise<S3BlobStore> {
    return openServer(url, async () => {
      const sdk = await optionalPackage("@aws-sdk/client-s3", () => import("@aws-sdk/client-s3"));
      const endpoint = url.searchParams.get("endpoint");
      const client = new sdk.S3Client({
        ...(!process.env["AWS_REGION"] && { region: "us-east-1" }),
        ...(endpoint && { endpoint, forcePathStyle: true }),
        // The guard tries a store again, and blocks are authenticated.
        maxAttempts: 1,
        requestChecksumCalculation: "WHEN_REQUIRED",
        responseChecksumValidation: "WHEN_REQUIRED",
        requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: silenceMs },
      });
      boundAnswers(client);
      const folder = url.pathname.replace(/^\/|\/$/g, "");
      const where = { Bucket: url.hostname, Key: folder === "" ? "key" : `${folder}/key` };
      const key = await sharedKey((text) => keyText(sdk, client, where, text));
      return new S3BlobStore({ sdk, client, key, maxAgeMs }, url.hostname, where.Key.slice(0, -3));
    });
  }

  private constructor(
    parts: { sdk: Sdk; client: S3Client; key: Uint8Array; maxAgeMs: number },
    bucket: string,
    prefix: string,
  ) {
    this.#sdk = parts.sdk;
    this.#client = parts.client;
    this.key = parts.key;
    this.#maxAgeMs = parts.maxAgeMs;
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  async get(name: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem> {
    // One byte more tells content that is longer.
    const asked = { ...this.#at(name), Range: `bytes=0-${bytes}` };
    const found = await unlessAbsent(this.#client.send(new this.#sdk.GetObjectCommand(asked)));
    if (!found) return "absent";
    if (this.#isExpired(found.LastModified, usedAt)) {
      (found.Body as Readable | undefined)?.destroy();
      return "absent";
    }
    const content = await found.Body?.transformToByteArray();
    return content?.length === bytes ? content : "wrong size";
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    await this.#keepKey(usedAt);
    await this.#client.send(new this.#sdk.PutObjectCommand({ ...this.#at(name), Body: content }));
  }

  /** A bucket's lifecycle may remove the key too. */
  async #keepKey(now: number): Promise<void> {
    if (now - this.#keyLookedAt < KEY_LOOK_MS) return;
    this.#keyLookedAt = now;
    const where = { Bucket: this.#bucket, Key: `${this.#prefix}key` };
    await keyText(this.#sdk, this.#client, where, textOfKey(this.key));
  }

  async touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    const asked = new this.#sdk.HeadObjectCommand(this.#at(name));
    const found = await unlessAbsent(this.#client.send(asked));
    return found?.ContentLength === bytes && !this.#isExpired(found.LastModified, usedAt);
  }

  async delete(name: string): Promise<void> {
    await this.#client.send(new this.#sdk.DeleteObjectCommand(this.#at(name)));
  }

  close(): void {
    this.#client.destroy();
  }

  #at(name: string) {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${name.slice(0, 2)}/${name}.kv` };
  }

  #isExpired(written: Date | undefined, now: number): boolean {
    return written !== undefined && now - written.getTime() > this.#maxAgeMs;
  }
}

/** Of two servers that make a key at once the one that was written stays. */
async function keyText(
  sdk: Sdk,
  client: S3Client,
  where: { readonly Bucket: string; readonly Key: string },
  text: string,
): Promise<string> {
  const asked = { ...where, Range: `bytes=0-${MOST_KEY_BYTES - 1}` };
  const read = async () => {
    const found = await unlessAbsent(client.send(new sdk.GetObjectCommand(asked)));
    return found?.Body?.transformToString("latin1");
  };
  const there = await read();
  if (there !== undefined) return there;
  const made = { ...where, Body: text, IfNoneMatch: "*" };
  await client.send(new sdk.PutObjectCommand(made)).catch((error: Error) => {
    if (error.name !== "PreconditionFailed") throw error;
  });
  return (await read()) ?? "";
}

/** A range is a wish, and any answer may be without end: one that is longer than asked for is cut, and fails. */
function boundAnswers(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (asked) => {
      const answer = await next(asked);
      const { headers } = asked.request as { readonly headers: Record<string, string> };
      const response = answer.response as { readonly statusCode: number; body?: unknown };
      if (response.body instanceof Readable) {
        const last = /^bytes=0-(\d+)$/.exec(headers["range"] ?? "")?.[1];
        const isContent = last !== undefined && response.statusCode < 300;
        response.body = cutAfter(response.body, isContent ? Number(last) + 1 : MOST_WORDS);
      }
      return answer;
    },
    // The nearest to the connection.
    { name: "boundAnswers", step: "deserialize", priority: "low" },
  );
}

/** The same bytes, and an error in place of what exceeds so many; the connection is closed then. */
function cutAfter(body: Readable, most: number): Readable {
  let taken = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _, passed) {
      taken += chunk.length;
      if (taken <= most) passed(null, chunk);
      else passed(new Error(`it answered more than the ${most} bytes that were asked for`));
    },
  });
  // Who reads hears of an error.
  return pipeline(body, bounded, () => undefined);
}

/** What was answered; undefined if there is no such object. */
async function unlessAbsent<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (["NoSuchKey", "NotFound"].includes((error as Error).name)) return undefined;
    throw error;
  }
}
