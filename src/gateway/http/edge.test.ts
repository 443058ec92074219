import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

const CHAT = "/v1/chat/completions";
const chat = { model: "calf", messages: [{ role: "user", content: "hi" }], max_tokens: 2 };
const UI = "http://ui.example";

let open: TinyServer;
let keyed: TinyServer;
before(async () => {
  open = await startTinyServer({ allowedHosts: ["gpu.lan"], listensLocally: true });
  keyed = await startTinyServer({ apiKey: "secret", allowedOrigins: [UI], strict: true });
});
after(() => Promise.all([open.close(), keyed.close()]));

/** The status of a request under a name of the client's own. */
const statusAs = (host: string, path = "/v1/models", server = open) =>
  new Promise<number | undefined>((resolve, reject) => {
    const sent = httpRequest(server.url + path, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on("error", reject).end();
  });

test("without a key a server answers to its own names alone", async () => {
  for (const host of ["localhost", "LOCALHOST:9", "127.0.0.1", "127.1.2.3:80", "[::1]:80"]) {
    assert.equal(await statusAs(host), 200, host);
  }
  assert.equal(await statusAs("gpu.lan:8000"), 200);
  for (const host of ["evil.example", "localhost.evil.example", "10.0.0.1", "1.127.0.0.1.nip.io"]) {
    assert.equal(await statusAs(host), 403, host);
    assert.equal(await statusAs(host, "/health"), 403, host);
  }
  assert.equal(await statusAs("evil.example", "/health", keyed), 200);
});

test("a server that others can reach answers to numbers, and to no foreign name", async () => {
  const server = await startTinyServer({ listensLocally: false });
  try {
    assert.equal(await statusAs("10.0.0.1:8000", "/v1/models", server), 200);
    assert.equal(await statusAs("evil.example", "/v1/models", server), 403);
  } finally {
    await server.close();
  }
});

test("what changes the server wants JSON, which no page may post unasked", async () => {
  const post = (type: string, path = "/rebalance") =>
    fetch(open.url + path, {
      method: "POST",
      headers: { "content-type": type },
      body: "{}",
    });
  assert.equal((await post("text/plain")).status, 415);
  assert.notEqual((await post("application/json")).status, 415);
  assert.equal((await post("text/plain", "/scale")).status, 415);
  assert.deepEqual(await (await post("application/json", "/scale")).json(), {
    units: [{ unit: 0, role: "combined", state: "serving" }],
    problems: [],
  });
  // A role that is misspelt is not the wish that nothing change.
  const misspelt = await fetch(`${open.url}/scale`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ decod: 2 }),
  });
  assert.equal(misspelt.status, 400);
  assert.match(await misspelt.text(), /decod/);
});

test("pages of allowed origins may ask before they have a key, and read answers", async () => {
  const preflight = (origin: string, server = keyed) =>
    fetch(server.url + CHAT, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
  const allowed = await preflight(UI);
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), UI);
  assert.equal(allowed.headers.get("access-control-allow-headers"), "authorization,content-type");
  for (const refused of [await preflight("http://evil.example"), await preflight(UI, open)]) {
    assert.notEqual(refused.status, 204);
    assert.equal(refused.headers.get("access-control-allow-origin"), null);
  }
  // Errors can be read too.
  const error = await fetch(keyed.url + CHAT, { method: "POST", headers: { origin: UI } });
  assert.equal(error.status, 401);
  assert.equal(error.headers.get("access-control-allow-origin"), UI);
  assert.match(error.headers.get("vary") ?? "", /origin/);
});

test("slashes too many mean the same path", async () => {
  for (const path of ["/v1/models/", "/v1//models", "//v1/models", "/models//"]) {
    assert.equal((await fetch(open.url + path)).status, 200, path);
  }
  assert.equal((await open.fetch(`${CHAT}/`, chat)).status, 200);
  assert.equal((await fetch(`${open.url}/v1/models/calf/`)).status, 200);
});

test("a connection may be idle for longer than clients' pools keep one", async () => {
  const response = await fetch(`${open.url}/health`);
  const [, seconds] = /timeout=(\d+)/.exec(response.headers.get("keep-alive") ?? "") ?? [];
  assert.ok(Number(seconds) > 90, seconds);
});

test("an unknown field is accepted and named, and refused by a strict server", async () => {
  const body = { ...chat, moood: 1, messages: [{ ...chat.messages[0], mood: 1 }] };
  const response = await open.fetch(CHAT, body);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-ignored-fields"), "messages[].mood, moood");
  const plain = await open.fetch(CHAT, { ...chat, user: "u", stream: true });
  assert.equal(plain.headers.get("x-ignored-fields"), null);
  await plain.text();
  const refused = await keyed.fetch(CHAT, body);
  const { error } = (await refused.json()) as { error: { code: string; param: string } };
  assert.deepEqual(
    [refused.status, error.code, error.param],
    [400, "unknown_parameter", "messages[0].mood"],
  );
});

test("the server says that it lives, that it is ready, and what it is", async () => {
  for (const path of ["/livez", "/readyz", "/health", "/version"]) {
    assert.equal((await fetch(keyed.url + path)).status, 200, path);
  }
  const { version } = (await (await fetch(`${open.url}/version`)).json()) as { version: string };
  assert.match(version, /^\d+\.\d+\.\d+/);
  const text = "the 中 <think>";
  const { tokens } = await open.post("/tokenize", { prompt: text, add_special_tokens: false });
  assert.deepEqual(await open.post("/detokenize", { tokens }), { prompt: text });
});
