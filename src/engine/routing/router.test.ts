import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { greedySampling } from "../../kernels/index.ts";
import type { AskedRequest } from "../messages.ts";
import { type BlockReading, type Route, Router } from "./router.ts";

const costs = { perToken: 100, perAttentionPair: 1 };
const createRouter = (topology: string, pages = 100, reading?: BlockReading) =>
  new Router({ topology: parseTopology(topology), costs, pages, stepRows: 4, reading });

/** A request's way, where some rank takes it. */
function routeOf(router: Router, asked: AskedRequest): Route {
  const route = router.route(asked);
  assert.ok(route);
  return route;
}

/** A prompt of its own: `kind` is its first token. */
function request(kind: number, tokens: number, maxTokens = 16, tenant = ""): AskedRequest {
  const prompt = Array.from({ length: tokens }, (_, i) => (i === 0 ? kind : i));
  return { id: "", tenant, prompt, choice: 0, maxTokens, stopTokens: [], sampling: greedySampling };
}

test("prompts go where they add least to the busiest rank, whatever came before", () => {
  const router = createRouter("combined=1x3");
  const ranks = [1000, 200, 300, 400].map((tokens, i) => routeOf(router, request(i, tokens)).rank);
  assert.deepEqual(ranks, [0, 1, 2, 1]);
});

test("in turns requests go to one rank after the other, whatever they are", () => {
  const router = new Router({
    ...{ topology: parseTopology("prefill=1x2,decode=1x3"), costs, pages: 100, stepRows: 4 },
    routing: "turns",
  });
  const routes = [1000, 10, 500, 10].map((tokens, i) => routeOf(router, request(i, tokens)));
  assert.deepEqual(
    routes.map(({ rank, decodeRank }) => [rank, decodeRank]),
    [
      [1, 3],
      [0, 4],
      [1, 2],
      [0, 3],
    ],
  );
});

test("a computed prompt no longer weighs on its rank, however often that is said", () => {
  const router = createRouter("combined=1x2");
  const first = routeOf(router, request(1, 500));
  const second = routeOf(router, request(2, 100));
  for (let i = 0; i < 2; i++) first.hear("token", first.rank);
  first.release();
  assert.equal(routeOf(router, request(3, 50)).rank, first.rank);
  assert.notEqual(first.rank, second.rank);
});

test("a prompt follows its prefix, but not into a rank that is far behind", () => {
  const router = createRouter("combined=1x2");
  routeOf(router, request(1, 640)).release();
  routeOf(router, request(2, 64)).release();
  assert.equal(routeOf(router, request(1, 700)).rank, 0);

  const far = createRouter("combined=1x2");
  routeOf(far, request(1, 640)).release();
  const busy = routeOf(far, request(2, 3000));
  routeOf(far, request(3, 3000)).release();
  assert.equal(busy.rank, 0);
  assert.equal(routeOf(far, request(1, 130)).rank, 1);
});

test("prefixes of another tenant attract nobody", () => {
  const router = createRouter("combined=1x2");
  routeOf(router, request(1, 640)).release();
  const other = routeOf(router, request(5, 640));
  assert.equal(other.rank, 0);
  assert.equal(routeOf(router, request(1, 640, 16, "other")).rank, 1);
});

test("decode ranks fill evenly, and where none has room the emptiest is waited for", () => {
  const router = createRouter("prefill=1x1,decode=1x2", 10);
  const routes = Array.from({ length: 4 }, (_, i) => routeOf(router, request(i, 100, 60)));
  assert.deepEqual(
    routes.map(({ rank, decodeRank }) => [rank, decodeRank]),
    [1, 2, 1, 2].map((rank) => [0, rank]),
  );
  routes[1].release();
  routes[1].release();
  assert.equal(routeOf(router, request(9, 500, 100)).decodeRank, 2);
});

test("without a limit a request weighs its prompt and what answers were long", () => {
  const router = createRouter("prefill=1x1,decode=1x2", 2048);
  const held = [0, 0];
  for (const [i, tokens] of [30_000, 30_000, 100, 100, 30_000, 100, 30_000, 100].entries()) {
    const { decodeRank } = routeOf(router, request(i, tokens, 32_768 - tokens));
    held[(decodeRank as number) - 1] += tokens;
  }
  assert.deepEqual(held, [60_200, 60_200]);
});

const UNBOUNDED = 1e6;

test("max_tokens caps what is expected of an answer, and ended answers teach what to expect", () => {
  const choose = (lengths: number[], maxTokens: number) => {
    const router = createRouter("prefill=1x1,decode=1x2", 2048);
    for (const tokens of lengths) {
      const { decodeRank = 0, hear, release } = routeOf(router, request(0, 100, UNBOUNDED));
      for (let i = 0; i < tokens; i++) hear("token", i === 0 ? 0 : decodeRank);
      hear("finished", decodeRank);
      release();
    }
    routeOf(router, request(1, 100, maxTokens));
    routeOf(router, request(2, 1000));
    // Both ranks have one request: the one with less KV is chosen.
    return routeOf(router, request(3, 10)).decodeRank;
  };
  const long = Array<number>(40).fill(2000);
  assert.equal(choose([], UNBOUNDED), 1);
  assert.equal(choose(long, UNBOUNDED), 2);
  assert.equal(choose(long, 16), 1);
});

test("a rank weighs what it holds, as it reports it, and no more once its requests have left", () => {
  const router = createRouter("prefill=1x1,decode=1x2", 2048);
  const routes = [1, 2].map((kind) => routeOf(router, request(kind, 1000, 64)));
  assert.deepEqual(
    routes.map(({ decodeRank }) => decodeRank),
    [1, 2],
  );
  // The second has generated far more than was expected.
  for (let i = 0; i < 3000; i++) routes[1].hear("token", i === 0 ? 0 : 2);
  assert.equal(routeOf(router, request(3, 500, 64)).decodeRank, 1);
  // Its pages are shared with others after all.
  router.report(2, 1);
  assert.equal(routeOf(router, request(4, 500, 64)).decodeRank, 2);
  for (const { release } of routes) release();
  router.report(1, 60);
  router.report(2, 0);
  assert.equal(routeOf(router, request(5, 500, 64)).decodeRank, 2);
});

test("prompts' blocks are read by the decode rank while more wait for the prefill rank", () => {
  const router = createRouter("prefill=1x1,decode=1x1", 1000, "sooner");
  const routes = [1, 2, 3, 4].map((kind) => routeOf(router, request(kind, 640)));
  const who = () => routes.map(({ borrows = false }) => borrows);
  assert.deepEqual(who(), [false, true, false, true]);
  // Those that the prefill rank has read are no longer waited for.
  for (const each of [routes[0], routes[2]]) each.hear("started", 0);
  assert.equal(routeOf(router, request(5, 640)).borrows, undefined);
  // Nothing is to be read of what the pool has already.
  assert.equal(routeOf(router, request(5, 640)).borrows, undefined);
  const combined = createRouter("combined=1x2", 1000, "decode");
  assert.equal(routeOf(combined, request(1, 640)).borrows, undefined);
});

test("what blocks take, as ranks report it, decides who reads; a full decode rank does not", () => {
  const choose = (read: number, lent: number, pages = 1000) => {
    const router = createRouter("prefill=1x1,decode=1x1", pages, "sooner");
    router.report(0, 0, { read: 10_000 });
    router.report(1, 0, { read, lent });
    return routeOf(router, request(1, 640)).borrows;
  };
  assert.equal(choose(3000, 6000), true);
  assert.equal(choose(3000, 8000), undefined);
  assert.equal(choose(3000, 6000, 10), undefined);
});
