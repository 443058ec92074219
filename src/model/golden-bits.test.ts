import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { PAGE_TOKENS, policies, type Policy, type Stream } from "../kernels/index.ts";
import { everyOperation } from "../kernels/testing/every-operation.ts";
import { backends, type Backend } from "../kernels/testing/fixtures.ts";
import { WeightFolder } from "../kernels/testing/weight-folder.ts";
import { NUMERICS_VERSION } from "./checkpoint/identity.ts";
import { repositoryRoot, tinyFixtures } from "./fixtures.ts";
import { loadModel, type Model } from "./graph/index.ts";

/**
 * Bits of KV and logits are shared between nodes and kept in caches, under a number that a person
 * raises. These digests notice when bits move without it: of each operation on generated inputs,
 * and of whole models' KV and logits, for each policy. Kernels whose bits have one name have one digest.
 */
interface GoldenBits {
  readonly numericsVersion: number;
  /** By the bits' name and policy, then by what was computed. */
  readonly digests: Readonly<Record<string, Digests>>;
}

type Digests = Readonly<Record<string, string>>;

const file = join(repositoryRoot, "fixtures/golden-bits.json");
const writeCommand = "node dist/model/golden-bits.test.js --write";
/** More than one piece of attention. */
const CALF_TOKENS = 270;

function digestOf(arrays: readonly NodeJS.ArrayBufferView[]): string {
  const hash = createHash("sha256");
  for (const { buffer, byteOffset, byteLength } of arrays) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest("hex").slice(0, 16);
}

const folder = new WeightFolder();
after(() => folder.remove());

/** Every backend computes the same ones. */
const operationsOf = new Map(policies.map((policy) => [policy, everyOperation(folder, policy)]));

/** One digest for all cases of an operation. */
async function operationDigests(stream: Stream, policy: Policy): Promise<Digests> {
  const outputs = new Map<string, NodeJS.ArrayBufferView[]>();
  for (const operation of operationsOf.get(policy) ?? []) {
    const own = outputs.get(operation.name) ?? [];
    outputs.set(operation.name, [...own, ...operation.enqueue(stream)]);
  }
  await stream.fence();
  return Object.fromEntries([...outputs].map(([name, arrays]) => [name, digestOf(arrays)]));
}

/** The KV of each layer tells in which one bits moved first. */
async function modelDigests(
  name: string,
  model: Model,
  tokens: readonly number[],
): Promise<Digests> {
  const rows = tokens.length;
  const pages = Math.ceil(rows / PAGE_TOKENS);
  const pool = model.createKvPool(pages);
  const places = Int32Array.from({ length: rows }, (_, i) => i);
  const batch = {
    rows,
    tokens: Int32Array.from(tokens),
    positions: places,
    rowStarts: Int32Array.of(0, rows),
    pageTables: Int32Array.from({ length: pages }, (_, i) => pages - 1 - i),
    tableStride: pages,
    logitRows: places,
  };
  const logits = digestOf([await model.forward(batch, pool)]);
  const layers = pool.layers.map(({ entries }, layer) => [
    `${name}, KV of layer ${layer}`,
    digestOf([entries]),
  ]);
  return { ...Object.fromEntries(layers), [`${name}, logits`]: logits };
}

/** Where others compute the same bits in a fraction of their time, calf is left to them. */
const slowest = ["reference", "portable"];
const isCalfLeft = ({ name }: Backend) =>
  slowest.includes(name) && backends.length > slowest.indexOf(name) + 1;

async function digestsOf(backend: Backend, policy: Policy): Promise<Digests> {
  const stream = backend.create().createStream(policy);
  const digests = [await operationDigests(stream, policy)];
  stream.close();
  const calf = {
    name: "calf",
    directory: join(repositoryRoot, "models/calf"),
    tokens: Array.from({ length: CALF_TOKENS }, (_, i) => (i * 37) % 4000),
  };
  const models = [...tinyFixtures(), ...(isCalfLeft(backend) ? [] : [calf])];
  for (const { name, directory, tokens } of models) {
    const kernels = backend.create();
    const model = await loadModel(directory, { kernels, policy, maxRows: tokens.length });
    digests.push(await modelDigests(name, model, tokens));
  }
  return Object.assign({}, ...digests);
}

const keyOf = ({ create }: Backend, policy: Policy) => `${create().bitsOf(policy)} ${policy}`;

function readGoldenBits(): GoldenBits {
  return JSON.parse(readFileSync(file, "utf8")) as GoldenBits;
}

const expectedOf = (backend: Backend, digests: Digests): Digests =>
  Object.fromEntries(
    Object.entries(digests).filter(([name]) => !(isCalfLeft(backend) && name.startsWith("calf,"))),
  );

/** What no longer has the bits it had. */
const moved = (actual: Digests, expected: Digests) =>
  Object.keys({ ...expected, ...actual }).filter((name) => actual[name] !== expected[name]);

function defineTests({ numericsVersion, digests }: GoldenBits): void {
  const present = new Set<string>();
  for (const backend of backends) {
    for (const policy of policies) {
      const key = keyOf(backend, policy);
      present.add(key);
      const skip = digests[key] ? false : `no bits of ${key} are recorded`;
      test(
        `${backend.name} under ${policy} computes the bits it always has`,
        { skip },
        async () => {
          const names = moved(await digestsOf(backend, policy), expectedOf(backend, digests[key]));
          const advice = `if that is meant, raise NUMERICS_VERSION and run ${writeCommand}`;
          assert.deepEqual(names, [], `the bits of ${names.join("; ")} moved; ${advice}`);
        },
      );
    }
  }
  for (const key of Object.keys(digests).filter((each) => !present.has(each))) {
    test(`${key} computes the bits it always has`, { skip: "this machine has no such kernels" });
  }
  test("the recorded bits are those of this version of the numbers", () => {
    assert.equal(numericsVersion, NUMERICS_VERSION, `run ${writeCommand}`);
  });
}

/** @throws Error where bits moved and the version did not, or kernels of one name disagree */
async function write(): Promise<void> {
  const old = existsSync(file) ? readGoldenBits() : { numericsVersion: 0, digests: {} };
  const isRaised = old.numericsVersion !== NUMERICS_VERSION;
  const digests: Record<string, Digests> = isRaised ? {} : { ...old.digests };
  for (const backend of backends) {
    for (const policy of policies) {
      const key = keyOf(backend, policy);
      const fresh = await digestsOf(backend, policy);
      const recorded = expectedOf(backend, digests[key] ?? {});
      const names = Object.keys(recorded).filter((name) => fresh[name] !== recorded[name]);
      if (names.length > 0) {
        throw new Error(
          `${key}: the bits of ${names.join("; ")} on ${backend.name} are not those recorded; ` +
            "if they are meant to move, raise NUMERICS_VERSION first",
        );
      }
      digests[key] = { ...digests[key], ...fresh };
    }
  }
  const lost = Object.keys(old.digests).filter((key) => !digests[key]);
  if (lost.length > 0) console.warn(`not recorded, for want of a machine: ${lost.join(", ")}`);
  writeFileSync(
    file,
    `${JSON.stringify({ numericsVersion: NUMERICS_VERSION, digests }, null, 2)}\n`,
  );
}

if (process.argv.includes("--write")) await write();
else defineTests(readGoldenBits());
