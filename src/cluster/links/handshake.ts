import { z } from "zod";
import { parseBody } from "../parse-body.ts";
import { FrameError, nodeFrame, type Frame, type FrameType } from "./frame.ts";
import type { FrameSocket } from "./frame-socket.ts";

/** A node cannot be part of the cluster: wrong secret, another model, or no place for it. */
export class HandshakeError extends Error {
  override readonly name = "HandshakeError";
}

/** Of the frames and messages between nodes; raised when one of them changes its meaning. */
export const PROTOCOL = 6;

const name = z.string().max(256);
const port = z.int().min(1).max(65_535);

/** In the order in which they are compared. */
const identitySchema = z.object({
  /** Of daysix. */
  version: name,
  /** Whether all bytes of the weights are hashed, or a sample. */
  modelBytes: name,
  modelHash: name,
  policy: name,
  /** Those of the node's kernels under the policy. */
  bits: name,
  numericsVersion: z.int(),
});

/** What all nodes of a cluster must have in common for an answer not to depend on the node. */
export type ClusterIdentity = Readonly<z.infer<typeof identitySchema>>;

const identityFields = identitySchema.keyof().options;

/** A node's first words to the one it has dialled. */
const helloSchema = z.object({
  identity: identitySchema,
  /** Of a port that several clusters have in common, the one that computes for this model. */
  model: name.exactOptional(),
  /** The cluster it has joined already, and its number there; null when it asks for one. */
  member: z.object({ cluster: name, node: z.int().min(1) }).nullable(),
  /** Where it listens itself; without a host, the address it dials from. */
  listen: z.object({ host: name.nullable(), port }),
});

export type Hello = z.infer<typeof helloSchema>;

/** The answer, unless it is a refusal. */
const welcomeSchema = z.object({
  cluster: name,
  /** Number of the node that is welcomed. None is given twice: it names one life of a node. */
  node: z.int().min(1),
});

export type Welcome = z.infer<typeof welcomeSchema>;

const protocolSchema = z.object({ protocol: z.int() });
const refusalSchema = z.object({ reason: z.string().max(4096) });

/** Checks a frame's type and JSON payload. @throws FrameError */
export function parseFrame<T>(frame: Frame, type: FrameType, schema: z.ZodType<T>): T {
  if (frame.type !== type) throw new FrameError(`expected a ${type} frame, got ${frame.type}`);
  return parseAs(type, parseJson(frame), schema);
}

/** Checks what a type of frame has said. @throws FrameError naming the field that is wrong */
export function parseAs<T>(type: FrameType, said: unknown, schema: z.ZodType<T>): T {
  try {
    return parseBody(said, schema);
  } catch (error) {
    throw new FrameError(`${type} frame: ${(error as Error).message}`);
  }
}

function parseJson({ payload, type }: Frame): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new FrameError(`${type} frame: expected JSON`);
  }
}

/** @throws RangeError if the value is too large for the type of frame. */
export const jsonFrame = (type: FrameType, value: unknown) =>
  nodeFrame(type, Buffer.from(JSON.stringify(value)));

/** The dialling side. Rejects with HandshakeError when refused, else with what went wrong. */
export async function introduce(socket: FrameSocket, hello: Hello): Promise<Welcome> {
  socket.write(jsonFrame("hello", { protocol: PROTOCOL, ...hello }));
  const answer = await socket.read();
  if (answer.type === "refusal") {
    throw new HandshakeError(parseFrame(answer, "refusal", refusalSchema).reason);
  }
  return parseFrame(answer, "hello", welcomeSchema);
}

/** The listening side. Rejects with HandshakeError after having told the other side why. */
export async function hearHello(socket: FrameSocket): Promise<Hello> {
  const frame = await socket.read();
  const { protocol } = parseFrame(frame, "hello", protocolSchema);
  if (protocol !== PROTOCOL) refuse(socket, describeMismatch("protocol", PROTOCOL, protocol));
  return parseFrame(frame, "hello", helloSchema);
}

/** Refuses a node of another identity. @throws HandshakeError naming the first field that differs */
export function expectIdentity(
  socket: FrameSocket,
  own: ClusterIdentity,
  theirs: ClusterIdentity,
): void {
  for (const field of identityFields) {
    if (own[field] !== theirs[field]) {
      refuse(socket, describeMismatch(field, own[field], theirs[field]));
    }
  }
}

export function welcome(socket: FrameSocket, answer: Welcome): void {
  socket.write(jsonFrame("hello", answer));
}

/** Tells the other side. @throws HandshakeError with the same reason. */
export function refuse(socket: FrameSocket, reason: string): never {
  socket.write(jsonFrame("refusal", { reason }));
  throw new HandshakeError(reason);
}

const describeMismatch = (field: string, own: string | number, theirs: string | number) =>
  `${field}: the cluster has ${JSON.stringify(own)}, the joining node ${JSON.stringify(theirs)}`;
