import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { DashboardFiles } from "./dashboard-files.ts";
import { startTinyServer } from "./fixtures.ts";

/** Asks for a path as it is written: `fetch` would resolve its dots. */
const statusOf = (url: string, path: string) =>
  new Promise<number | undefined>((resolve, reject) => {
    const { hostname, port } = new URL(url);
    get({ hostname, port, path }, (response: IncomingMessage) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", reject);
  });

test("the page and its assets are served without a key, and nothing beside them", async () => {
  const directory = await mkdtemp(join(tmpdir(), "daysix-page-"));
  await writeFile(join(directory, "secret.js"), "not the page's");
  await mkdir(join(directory, "page/assets"), { recursive: true });
  await writeFile(join(directory, "page/index.html"), "<!doctype html>");
  await writeFile(join(directory, "page/notes.txt"), "no type of the page");
  await writeFile(join(directory, "page/assets/page-1234.js"), "export {};");
  const dashboard = await DashboardFiles.load(join(directory, "page"));
  const server = await startTinyServer({ dashboard, apiKey: "secret" });
  try {
    const page = await fetch(`${server.url}/`);
    assert.equal(page.status, 200);
    assert.equal(await page.text(), "<!doctype html>");
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(page.headers.get("cache-control"), "no-cache");
    assert.match(page.headers.get("content-security-policy") ?? "", /^default-src 'none'/);

    const script = await fetch(`${server.url}/assets/page-1234.js`);
    assert.equal(await script.text(), "export {};");
    assert.match(script.headers.get("content-type") ?? "", /^text\/javascript/);
    assert.match(script.headers.get("cache-control") ?? "", /immutable/);
    assert.equal(script.headers.get("x-content-type-options"), "nosniff");

    assert.equal((await fetch(`${server.url}/`, { method: "POST" })).status, 405);
    const outside = ["/secret.js", "/../secret.js", "/assets/../../secret.js", "/notes.txt"];
    for (const path of [...outside, "/assets/..%2f..%2fsecret.js", "/assets/missing.js"]) {
      assert.equal(await statusOf(server.url, path), 401, path);
    }
  } finally {
    await server.close();
    await rm(directory, { recursive: true });
  }
});

test("the built page names only files that are there", async () => {
  const built = await DashboardFiles.load(
    fileURLToPath(new URL("../../dashboard", import.meta.url)),
  );
  const page = await built.respond("/").text();
  const named = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
  assert.ok(named.length >= 3);
  for (const path of named) assert.ok(built.paths.includes(path), path);
  assert.doesNotMatch(page, /https?:/);
});

test("without a build there is no page, and / says so", async () => {
  const dashboard = await DashboardFiles.load("/nowhere");
  assert.deepEqual(dashboard.paths, []);
  const server = await startTinyServer({ dashboard });
  try {
    assert.equal((await fetch(`${server.url}/`)).status, 404);
  } finally {
    await server.close();
  }
});
