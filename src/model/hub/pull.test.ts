import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CachedModel, hubPlaces } from "./hub-cache.ts";
import { wait } from "./download.ts";
import { type HubBehaviour, startHub } from "./hub-fixtures.ts";
import { parseHubModel } from "./hub-id.ts";
import { pullModel, type PullPlan } from "./pull.ts";

const root = await mkdtemp(join(tmpdir(), "daysix-hub-"));
after(() => rm(root, { recursive: true }));

const noise = (bytes: number, seed: number) =>
  Buffer.from(
    Uint8Array.from({ length: bytes }, (_, i) => (Math.imul(i ^ seed, 0x9e3779b1) >>> 13) & 255),
  );
const files = new Map([
  ["config.json", Buffer.from('{"model_type":"deepseek_v3"}')],
  ["model-00001-of-000002.safetensors", noise(300_000, 1)],
  ["model-00002-of-000002.safetensors", noise(200_000, 2)],
  ["inference/model.py", Buffer.from("print()")],
  ["pytorch_model.bin", noise(5000, 3)],
  ["empty.txt", Buffer.alloc(0)],
]);
const kept = [...files.keys()].filter((name) => name !== "pytorch_model.bin");
/** Longer than any test may take. */
const LONG_MS = 2 ** 30;
const tiny = parseHubModel("org/tiny")!;

interface Asked {
  readonly behaviour?: HubBehaviour;
  readonly id?: string;
  readonly environment?: Record<string, string>;
  readonly cache?: string;
  readonly planned?: (plan: PullPlan) => Promise<void>;
}

/** Pulls from a server that behaves so. */
async function pull(
  { behaviour, id = "org/tiny", environment, cache, planned }: Asked = {},
  served: ReadonlyMap<string, Buffer> = files,
) {
  const hub = await startHub(served, behaviour);
  const home = cache ?? (await mkdtemp(join(root, "home-")));
  const places = hubPlaces({ HF_HOME: home, HF_ENDPOINT: hub.endpoint, ...environment });
  const progress: number[] = [];
  try {
    const folder = await pullModel(parseHubModel(id)!, places, {
      planned: planned ?? (async () => undefined),
      onProgress: (have) => progress.push(have),
      signal: new AbortController().signal,
      ...{ stallMs: 5000, wait: async () => undefined },
    });
    return { folder, home, hub, progress, places };
  } finally {
    await hub.close();
  }
}

async function assertWhole(folder: string): Promise<void> {
  for (const name of kept) {
    assert.ok((await readFile(join(folder, name))).equals(files.get(name)!), name);
  }
  await assert.rejects(readFile(join(folder, "pytorch_model.bin")));
}

test("a model lies as Hugging Face's tools keep it, and is found there by its name", async () => {
  let plan: PullPlan | undefined;
  const { folder, home, hub, places, progress } = await pull({
    planned: async (told) => void (plan = told),
  });
  await assertWhole(folder);
  const model = join(home, "hub/models--org--tiny");
  assert.equal(folder, join(model, "snapshots", hub.commit));
  assert.equal(await readFile(join(model, "refs/main"), "utf8"), hub.commit);
  assert.match(
    await readlink(join(folder, "inference/model.py")),
    /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/,
  );
  assert.match(await readlink(join(folder, kept[1])), /^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
  assert.equal((await readdir(join(model, "blobs"))).length, kept.length);
  assert.equal(await new CachedModel(places.cache, tiny).find(), folder);
  assert.equal(plan?.weightBytes, 500_000);
  assert.equal(progress.at(-1), plan?.bytes);
});

test("a pull goes on from every cut connection, whatever its responses say of their length", async () => {
  for (const shortensLengths of [false, true]) {
    const { folder, hub } = await pull({ behaviour: { cuts: 20, shortensLengths } });
    await assertWhole(folder);
    assert.ok(hub.starts.filter((start) => start > 0).length >= 20);
  }
});

/** Of the four shards of a large model; the soak says more. */
const LARGE_BYTES = Number(process.env["DAYSIX_PULL_BYTES"] ?? 8e6);

/** Bytes of which no two MiB are the same. */
function largeFile(bytes: number, seed: number): Buffer {
  const file = Buffer.alloc(bytes, noise(2 ** 20, seed));
  for (let at = 0; at + 4 <= bytes; at += 2 ** 20) file.writeUInt32LE(at >>> 16, at);
  return file;
}

test("a large model comes whole and resumed through 20 cut connections, four files at a time", async () => {
  const shards = [1, 2, 3, 4].map((shard) => {
    const name = `model-0000${shard}-of-00004.safetensors`;
    return [name, largeFile(Math.floor(LARGE_BYTES / 4), shard)] as const;
  });
  const large = new Map([...shards, ["config.json", Buffer.from("{}")] as const]);
  const { folder, hub, progress, home } = await pull({ behaviour: { cuts: 20 } }, large);
  for (const [name, content] of large) {
    assert.ok((await readFile(join(folder, name))).equals(content), name);
  }
  assert.equal(hub.starts.filter((start) => start > 0).length, 20);
  // Nothing came twice.
  const total = [...large.values()].reduce((sum, content) => sum + content.length, 0);
  assert.equal(progress.at(-1), total);
  assert.ok(progress.every((have, i) => i === 0 || have > progress[i - 1]));
  const left = await readdir(join(home, "hub/models--org--tiny/blobs"));
  assert.ok(left.every((name) => !name.endsWith(".incomplete")));
});

test("bytes beyond a file's end are left alone, and servers without ranges begin again", async () => {
  await assertWhole((await pull({ behaviour: { excess: 1000 } })).folder);
  const { folder, progress, hub } = await pull({ behaviour: { ignoresRanges: true, cuts: 3 } });
  await assertWhole(folder);
  assert.ok(hub.starts.every((start) => start === 0));
  assert.equal(
    progress.at(-1),
    kept.reduce((sum, name) => sum + files.get(name)!.length, 0),
  );
});

test("a damaged file is fetched once more, then refused by its checksums", async () => {
  await assertWhole((await pull({ behaviour: { damages: 1 } })).folder);
  await assert.rejects(
    pull({ behaviour: { damages: 100 } }),
    /expected the checksum .* got .*, twice/,
  );
});

test("what a pull left is taken up by the next", async () => {
  const home = await mkdtemp(join(root, "left-"));
  const blobs = join(home, "hub/models--org--tiny/blobs");
  const stopped = pull({ cache: home, behaviour: { cuts: 1e6, busy: 503 } });
  await assert.rejects(stopped, /no more bytes came after 0 of \d+: 503/);
  assert.equal(await new CachedModel(join(home, "hub"), tiny).find(), undefined);
  const first = files.get(kept[1])!;
  const name = createHash("sha256").update(first).digest("hex");
  await writeFile(join(blobs, `${name}.incomplete`), first.subarray(0, 123_456));
  const again = await pull({ cache: home });
  await assertWhole(again.folder);
  assert.ok(again.hub.starts.includes(123_456));
});

test("a pull is stopped while it waits before another try, too", async (t) => {
  const stopped = new AbortController();
  const hub = await startHub(files, { cuts: 1e6, busy: 503 });
  t.after(() => hub.close());
  const home = await mkdtemp(join(root, "stopped-"));
  const pulled = pullModel(tiny, hubPlaces({ HF_HOME: home, HF_ENDPOINT: hub.endpoint }), {
    ...{ planned: async () => undefined, onProgress: () => undefined, signal: stopped.signal },
    wait: (_, signal) => {
      stopped.abort(new Error("stopped"));
      return wait(LONG_MS, signal);
    },
  });
  await assert.rejects(pulled, /^Error: stopped$/);
});

test("the plan comes before the first byte, and may end the pull", async () => {
  const refusing = async () => {
    throw new RangeError("no room");
  };
  const home = await mkdtemp(join(root, "planned-"));
  await assert.rejects(pull({ cache: home, planned: refusing }), /no room/);
  assert.deepEqual(await readdir(join(home, "hub/models--org--tiny/blobs")), []);
});

test("a token is sent where there is one, and asked for where it is missing", async () => {
  const behaviour = { token: "hf_secret" };
  await assert.rejects(pull({ behaviour }), /org\/tiny@main: .*\(401\).*HF_TOKEN/);
  await assertWhole((await pull({ behaviour, environment: { HF_TOKEN: "hf_secret" } })).folder);
  const home = await mkdtemp(join(root, "token-"));
  await writeFile(join(home, "token"), "hf_secret\n");
  await assertWhole((await pull({ behaviour, cache: home })).folder);
});

test("a revision has a folder of its own; one that is not there is named", async () => {
  const { places, folder } = await pull({ id: "org/tiny@v1" });
  assert.equal(await new CachedModel(places.cache, parseHubModel("org/tiny@v1")!).find(), folder);
  assert.equal(await new CachedModel(places.cache, tiny).find(), undefined);
  await assert.rejects(pull({ id: "org/tiny@v2" }), /org\/tiny@v2: the hub has no such model/);
  const nowhere = pull({ environment: { HF_ENDPOINT: "http://127.0.0.1:9" } });
  await assert.rejects(nowhere, /^HubError: http:\/\/127.0.0.1:9\/.*: the hub does not answer: /);
  await assert.rejects(pull({ id: "org/other" }), /org\/other@main: the hub has no such model/);
});

test("a file that would leave the model's folder is refused", async () => {
  const outside = new Map([["../../escape", Buffer.from("x")]]);
  const hub = await startHub(outside);
  const places = hubPlaces({ HF_HOME: root, HF_ENDPOINT: hub.endpoint });
  const options = { planned: async () => undefined, onProgress: () => undefined };
  const { signal } = new AbortController();
  await assert.rejects(pullModel(tiny, places, { ...options, signal }), /leaves the folder/);
  await hub.close();
});

test("only what can be a model's name is one", () => {
  assert.deepEqual(parseHubModel("moonshotai/Kimi-K2.5@refs/pr/3"), {
    ...{ organisation: "moonshotai", name: "Kimi-K2.5", revision: "refs/pr/3" },
  });
  for (const text of ["calf", "./calf", "../a/b", "/a/b", "a/b/c", "a/..", "a/b@../c"]) {
    assert.equal(parseHubModel(text), undefined, text);
  }
});

test("Hugging Face's variables say where models are kept", () => {
  assert.equal(hubPlaces({ HF_HUB_CACHE: "/c", HF_HOME: "/h" }).cache, "/c");
  assert.equal(hubPlaces({ HF_HOME: "/h" }).cache, "/h/hub");
  assert.equal(hubPlaces({ XDG_CACHE_HOME: "/x" }).cache, "/x/huggingface/hub");
  const empty = { XDG_CACHE_HOME: "", HF_HOME: "", HF_HUB_CACHE: "", HF_TOKEN_PATH: "" };
  assert.deepEqual(hubPlaces({ ...empty, HF_ENDPOINT: "", HF_TOKEN: "" }), hubPlaces({}));
  assert.equal(hubPlaces({ HF_ENDPOINT: "https://mirror/" }).endpoint, "https://mirror");
});
