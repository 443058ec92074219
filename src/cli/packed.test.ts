import assert from "node:assert/strict";
import { mkdtemp, open, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test, type TestContext } from "node:test";
import { createKernels, nativeProblem } from "../kernels/index.ts";
import { fixtureDirectory } from "../model/fixtures.ts";
import { packedOf, type Packing } from "./packed.ts";

const skip = nativeProblem() ?? false;
const scratch = await mkdtemp(join(tmpdir(), "daysix-packed-test-"));
after(() => rm(scratch, { recursive: true }));
const modelDirectory = fixtureDirectory("tiny/k2") as string;
const newFolder = () => mkdtemp(join(scratch, "folder-"));
const packing: Packing = { modelDirectory, policy: "int8", folder: join(scratch, "usual") };

/** Runs with options, and collects what is said. */
async function run(t: TestContext, packedDir: string | undefined, more: Partial<Packing> = {}) {
  const said = t.mock.method(console, "error", () => undefined);
  const path = await packedOf({ packedDir }, { ...packing, ...more });
  const lines = said.mock.calls.map(({ arguments: [line] }) => String(line));
  said.mock.restore();
  return { path, lines };
}

test(
  "weights are packed once, where they usually lie or where asked, and what it takes is said before",
  { skip },
  async (t) => {
    for (const folder of [undefined, await newFolder()]) {
      const first = await run(t, folder);
      assert.equal(dirname(first.path!), folder ?? packing.folder);
      assert.equal(first.lines.length, 1);
      assert.match(first.lines[0], /^daysix: packs weights .*once: \d+\.\d MB in .* or off\)$/);
      const { ino } = await stat(first.path!);
      assert.deepEqual(await run(t, folder), { path: first.path, lines: [] });
      assert.equal((await stat(first.path!)).ino, ino);
    }
  },
);

test(
  "nothing is packed when it is off, or where kernels like no weight in strips",
  { skip },
  async (t) => {
    const folder = await newFolder();
    assert.deepEqual(await run(t, "off"), { path: undefined, lines: [] });
    assert.deepEqual(createKernels().stripDtypes("f32"), []);
    assert.deepEqual(await run(t, folder, { policy: "f32" }), { path: undefined, lines: [] });
    assert.deepEqual(await readdir(folder), []);
  },
);

test("a damaged file is named and made again", { skip }, async (t) => {
  const folder = await newFolder();
  const { path } = await run(t, folder);
  const file = await open(path!, "r+");
  await file.write(Buffer.of(1, 2, 3), 0, 3, 20_000);
  await file.write(Buffer.alloc(32), 0, 32, (await file.stat()).size - 32);
  await file.close();
  const again = await run(t, folder);
  assert.equal(again.path, path);
  assert.equal(again.lines[0], `daysix: ${path}: is damaged; it is made again`);
  assert.deepEqual(await run(t, folder), { path, lines: [] });
});

test("without a folder to write, weights stay rows, and a line says why", { skip }, async (t) => {
  const file = join(scratch, "no folder");
  await writeFile(file, "");
  const { path, lines } = await run(t, join(file, "packed"));
  assert.equal(path, undefined);
  assert.match(
    lines.join("\n"),
    /^daysix: weights are not packed, .* slower: ENOTDIR.*no folder[^\n]*$/,
  );
});

test(
  "more than half of a disk's room is taken only where a folder is named",
  { skip },
  async (t) => {
    const { path } = await run(t, await newFolder());
    const { size } = await stat(path!);
    // The header is not reckoned.
    const roomOf = async () => 1.5 * size;
    const usual = await run(t, undefined, { roomOf, folder: await newFolder() });
    assert.equal(usual.path, undefined);
    assert.match(
      usual.lines.join("\n"),
      /not packed, .*: \d+\.\d MB are more than half of the \d+/,
    );
    assert.ok((await run(t, await newFolder(), { roomOf })).path);
  },
);
