import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import { greedySampling, policies, type Policy } from "../../kernels/index.ts";
import { mtpFixture } from "../../model/fixtures.ts";
import { readConfig } from "../../model/index.ts";
import type { AskedRequest } from "../messages.ts";
import { Engine } from "./client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { answer, read, request } from "./fixtures.ts";
import { maskOf, masksAfter } from "./mask-fixtures.ts";

const { directory, tokens } = mtpFixture();
const { vocabSize } = await readConfig(directory);

const requests = Array.from({ length: 6 }, (_, i): AskedRequest => {
  const length = [5, 70, 130][i % 3] + i;
  const prompt = Array.from({ length }, (__, at) => tokens[at % tokens.length]);
  const sampled = { ...greedySampling, temperature: 0.9, seed: i };
  return request(prompt, {
    maxTokens: 10 + 12 * i,
    sampling: i % 2 === 0 ? greedySampling : sampled,
  });
});

async function answers(policy: Policy, options: Partial<EngineOptions>, isHeld = false) {
  const sizes = { kvMemoryBytes: 2 ** 21, chunkRows: 40 };
  const engine = await Engine.start({ modelDirectory: directory, policy, ...sizes, ...options });
  try {
    const told = await Promise.all(
      requests.map(async (asked, i) => {
        const held = isHeld ? { ...asked, mask: maskAfter(i) } : asked;
        const source = isHeld ? masksAfter(maskAfter) : undefined;
        return answer(await read(engine.generate(held, undefined, source)));
      }),
    );
    const { pagesInUse, proposedTokens } = await engine.stats();
    assert.equal(pagesInUse, 0, "nothing is left behind");
    return { told, proposedTokens };
  } finally {
    await engine.close();
  }
}

/** Two thirds of the tokens. */
const maskAfter = (token: number) => maskOf(vocabSize, (next) => next % 3 !== token % 3);

const settings: [string, Partial<EngineOptions>][] = [
  ["combined=1x1", {}],
  ["prefill=1x1,decode=1x2", {}],
  ["prefill=1x2,decode=1x2", { nodes: { count: 2 } }],
];

for (const policy of policies) {
  test(`drafts of the MTP layer never change the answer, whatever the topology: ${policy}`, async () => {
    const { told: expected, proposedTokens: none } = await answers(policy, {});
    assert.equal(none, 0);
    for (const [topology, options] of policy === "w8a16" ? settings : settings.slice(2)) {
      const asked = { topology: parseTopology(topology), speculate: true, ...options };
      const { told, proposedTokens } = await answers(policy, asked);
      assert.deepEqual(told, expected, topology);
      assert.ok(proposedTokens > 0, topology);
    }
  });
}

test("nor do they where masks say what may come", async () => {
  const { told: expected } = await answers("w8a16", {}, true);
  const { told, proposedTokens } = await answers("w8a16", { speculate: true }, true);
  assert.deepEqual(told, expected);
  assert.ok(proposedTokens > 0);
  const tokensOf = (events: (typeof told)[number]) =>
    events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
  for (const [i, own] of told.map(tokensOf).entries()) {
    assert.ok(own.every((token, at) => token % 3 !== (own[at - 1] ?? i) % 3));
  }
});
