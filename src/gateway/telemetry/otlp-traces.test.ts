import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { after, test } from "node:test";
import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import { startScriptedServer } from "../http/scripted-fixtures.ts";
import { openTraces, otlpEndpoint } from "./open-traces.ts";

interface Value {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values: readonly Value[] };
}

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Value }[];
  readonly status: { readonly code?: number };
}

interface Export {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Span["attributes"] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

/** What a collector has taken. */
const taken: Export[] = [];
const collector = createServer(async (request, response) => {
  assert.equal(request.url, "/v1/traces");
  taken.push((await json(request)) as Export);
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
});
await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
after(() => collector.close());
const base = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;

const plain = (value: Value): unknown =>
  value.arrayValue ? value.arrayValue.values.map(plain) : Object.values(value)[0];
const attributesOf = ({ attributes }: Pick<Span, "attributes">) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

test("a request is a span of its caller's trace, with the conventions' names and three phases", async () => {
  const troubles: string[] = [];
  const url = otlpEndpoint(base, {})!;
  const traces = await openTraces(url, { onTrouble: (reason) => troubles.push(reason) });
  const server = await startScriptedServer({ traces });
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  try {
    server.say("hello");
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        traceparent: `00-${traceId}-b7ad6b7169203331-01`,
      },
      body: JSON.stringify({
        ...{ model: "calf", max_tokens: 20, seed: 5, temperature: 0.5 },
        messages: [{ role: "user", content: "a secret" }],
      }),
    });
    assert.equal(response.status, 200);
    const answer = (await response.json()) as {
      id: string;
      usage: { prompt_tokens: number; completion_tokens: number };
    };
    await traces.close();
    const [{ resource, scopeSpans }] = taken.flatMap(({ resourceSpans }) => resourceSpans);
    assert.equal(attributesOf(resource)["service.name"], "daysix");
    const spans = scopeSpans.flatMap((scope) => scope.spans);
    const root = spans.find(({ name }) => name === "chat calf")!;
    assert.equal(root.traceId, traceId);
    assert.equal(root.parentSpanId, "b7ad6b7169203331");
    const attributes = attributesOf(root);
    assert.deepEqual(
      [
        ...["operation.name", "request.model", "request.seed", "request.temperature"],
        ...["response.id", "response.finish_reasons", "usage.input_tokens", "usage.output_tokens"],
      ].map((name) => attributes[`gen_ai.${name}`]),
      [
        ...["chat", "calf", 5, 0.5, answer.id, ["stop"]],
        ...[answer.usage.prompt_tokens, answer.usage.completion_tokens],
      ],
    );
    const known = new Set<unknown>(Object.values(conventions));
    for (const key of Object.keys(attributes)) {
      assert.ok(known.has(key) || key.startsWith("daysix."), key);
    }
    const phases = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId);
    assert.deepEqual(
      phases.map(({ name }) => name),
      ["queue", "prefill", "decode"],
    );
    for (const { startTimeUnixNano: start, endTimeUnixNano: end } of spans) {
      assert.ok(BigInt(start) <= BigInt(end));
      assert.ok(BigInt(start) >= BigInt(root.startTimeUnixNano));
    }
    assert.doesNotMatch(JSON.stringify(taken), /secret|hello/);
    assert.deepEqual(troubles, []);
  } finally {
    await server.close();
  }
});

test("traces go where the option or OpenTelemetry's variables say, and nowhere without them", () => {
  const general = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318/" };
  const own = { ...general, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://b/traces" };
  assert.equal(otlpEndpoint(undefined, {}), undefined);
  assert.equal(otlpEndpoint(undefined, general), "http://a:4318/v1/traces");
  assert.equal(otlpEndpoint(undefined, own), "http://b/traces");
  assert.equal(otlpEndpoint("http://c/v1/traces", own), "http://c/v1/traces");
});

test("a collector that is not there costs its traces and is told of once", async () => {
  const troubles: string[] = [];
  const onTrouble = (reason: string) => troubles.push(reason);
  const traces = await openTraces("http://127.0.0.1:9/v1/traces", { onTrouble, withinMs: 300 });
  const server = await startScriptedServer({ traces });
  try {
    for (let i = 0; i < 2; i++) {
      server.say("hello");
      const response = await fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "calf", prompt: "a", max_tokens: 20 }),
      });
      assert.equal(response.status, 200);
    }
    await traces.close();
    assert.equal(troubles.length, 1, troubles.join());
    assert.match(troubles[0], /ECONNREFUSED|127\.0\.0\.1:9/);
  } finally {
    await server.close();
  }
});
