import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { greedySampling } from "../../kernels/index.ts";
import type { AskedRequest } from "../messages.ts";
import { Router } from "./router.ts";

const costs = { perToken: 100, perAttentionPair: 1 };
const createRouter = (topology: string, pages = 100) =>
  new Router({ topology: parseTopology(topology), costs, pages, stepRows: 4 });

/** A prompt of its own: `kind` is its first token. */
function request(kind: number, tokens: number, maxTokens = 16, tenant = ""): AskedRequest {
  const prompt = Array.from({ length: tokens }, (_, i) => (i === 0 ? kind : i));
  return { id: "", tenant, prompt, choice: 0, maxTokens, stopTokens: [], sampling: greedySampling };
}

test("prompts go where they add least to the busiest rank, whatever came before", () => {
  const router = createRouter("combined=1x3");
  const ranks = [1000, 200, 300, 400].map((tokens, i) => router.route(request(i, tokens)).rank);
  assert.deepEqual(ranks, [0, 1, 2, 1]);
});

test("a computed prompt no longer weighs on its rank, however often that is said", () => {
  const router = createRouter("combined=1x2");
  const first = router.route(request(1, 500));
  const second = router.route(request(2, 100));
  first.prefilled();
  first.prefilled();
  first.release();
  assert.equal(router.route(request(3, 50)).rank, first.rank);
  assert.notEqual(first.rank, second.rank);
});

test("a prompt follows its prefix, but not into a rank that is far behind", () => {
  const router = createRouter("combined=1x2");
  router.route(request(1, 640)).release();
  router.route(request(2, 64)).release();
  assert.equal(router.route(request(1, 700)).rank, 0);

  const far = createRouter("combined=1x2");
  far.route(request(1, 640)).release();
  const busy = far.route(request(2, 3000));
  far.route(request(3, 3000)).release();
  assert.equal(busy.rank, 0);
  assert.equal(far.route(request(1, 130)).rank, 1);
});

test("prefixes of another tenant attract nobody", () => {
  const router = createRouter("combined=1x2");
  router.route(request(1, 640)).release();
  const other = router.route(request(5, 640));
  assert.equal(other.rank, 0);
  assert.equal(router.route(request(1, 640, 16, "other")).rank, 1);
});

test("decode ranks fill evenly, and where none has room the emptiest is waited for", () => {
  const router = createRouter("prefill=1x1,decode=1x2", 10);
  const routes = Array.from({ length: 4 }, (_, i) => router.route(request(i, 100, 60)));
  assert.deepEqual(
    routes.map(({ rank, decodeRank }) => [rank, decodeRank]),
    [1, 2, 1, 2].map((rank) => [0, rank]),
  );
  routes[1].release();
  routes[1].release();
  assert.equal(router.route(request(9, 500, 100)).decodeRank, 2);
});
