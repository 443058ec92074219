import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Counting, Dialect } from "../dialects/index.ts";
import {
  rebalanceRequest,
  rebalancing,
  scaleRequest,
  scaling,
  statusSnapshot,
} from "../status/index.ts";
import * as wire from "../wire.ts";

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly summary: string;
  readonly request?: z.ZodType;
  readonly query?: z.ZodObject;
  /** Undefined: the answer is always a stream. */
  readonly response?: z.ZodType;
  /** A stream's chunks, where the answer may be one. */
  readonly chunk?: z.ZodType;
}

/** Of several models the first, unless one is named. */
const ofModel = z.object({ model: z.string().optional() });

const operationsOf = (
  dialects: readonly Dialect<unknown>[],
  countings: readonly Counting<unknown>[],
): readonly Operation[] => [
  ...countings.map(({ path, summary, schema, response }) => ({
    method: "post" as const,
    path: `/v1${path}`,
    summary,
    request: schema,
    response,
  })),
  ...dialects.map(({ path, summary, schema, response, chunk }) => ({
    method: "post" as const,
    path: `/v1${path}`,
    summary,
    request: schema,
    response,
    chunk,
  })),
  {
    method: "post",
    path: "/v1/completions",
    summary: "Continues a prompt",
    request: wire.completionRequest,
    response: wire.completion,
    chunk: wire.completion,
  },
  {
    method: "post",
    path: "/tokenize",
    summary: "A raw prompt's tokens",
    request: wire.tokenizeRequest,
    response: wire.tokenized,
  },
  {
    method: "post",
    path: "/detokenize",
    summary: "Tokens' text",
    request: wire.detokenizeRequest,
    response: wire.detokenized,
  },
  { method: "get", path: "/v1/models", summary: "The names served", response: wire.modelList },
  { method: "get", path: "/v1/models/{id}", summary: "One of them", response: wire.model },
  { method: "get", path: "/health", summary: "503 while draining", response: wire.health },
  {
    method: "get",
    path: "/readyz",
    summary: "503 while draining or no unit of a model serves",
    response: wire.health,
  },
  { method: "get", path: "/livez", summary: "Answers at once", response: wire.version },
  { method: "get", path: "/version", summary: "The same", response: wire.version },
  {
    method: "get",
    path: "/status",
    query: ofModel,
    summary: "Topology, loads, tokens and income now",
    response: statusSnapshot,
  },
  {
    method: "get",
    path: "/status/events",
    query: ofModel,
    summary: "The same about once a second",
    chunk: statusSnapshot,
  },
  {
    method: "post",
    path: "/rebalance",
    summary: "Places experts anew for the loads counted since the last time",
    request: rebalanceRequest,
    response: rebalancing,
  },
  {
    method: "post",
    path: "/scale",
    summary: "Starts or drains units until so many serve",
    request: scaleRequest,
    response: scaling,
  },
];

/** The OpenAPI 3.1 document of what is served, from the schemas that validate it. */
export function openApiDocument(
  dialects: readonly Dialect<unknown>[],
  countings: readonly Counting<unknown>[],
) {
  const document = new OpenAPIHono();
  for (const operation of operationsOf(dialects, countings))
    document.openAPIRegistry.registerPath(describe(operation));
  return document.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "DaySix",
      version: "1",
      description: "OpenAI's API as DeepSeek speaks it. Paths under /v1 also work without it.",
    },
  });
}

function describe({ method, path, summary, request, query, response, chunk }: Operation) {
  const json = (schema: z.ZodType) => ({ "application/json": { schema } });
  const events = chunk ? { "text/event-stream": { schema: chunk } } : {};
  const body = request && { body: { required: true, content: json(request) } };
  return createRoute({
    method,
    path,
    summary,
    request: { ...body, ...(query && { query }) },
    responses: {
      200: { description: summary, content: { ...(response && json(response)), ...events } },
      default: { description: "A refusal or a failure", content: json(wire.errorEnvelope) },
    },
  });
}
