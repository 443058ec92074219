import { once } from "node:events";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import type { Clock } from "../clock.ts";
import { FrameSocket } from "./frame-socket.ts";
import { HandshakeError } from "./handshake.ts";
import { PendingHandshakes } from "./pending-handshakes.ts";
import { type ClusterSecret, clientTls, serverTls } from "./secret.ts";
import { sparing } from "./sparing.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Without a host: all addresses of the machine. Port 0 takes a free one. */
export interface ListenAddress {
  readonly host?: string;
  readonly port: number;
}

/** Time a new connection has for its handshakes, of TLS and of the cluster. */
export interface Patience {
  readonly milliseconds: number;
  readonly clock: Clock;
}

/** A listening port for nodes that know the secret. */
export interface Listener {
  readonly address: Address;
  /** Takes no new connections; those it has taken go on. */
  close(): void;
}

/** Connections at a time that may not yet have shown that they know the secret. */
const MAXIMUM_PENDING = 256;

/** Rejects with what keeps the address from being listened at. */
export async function listen(
  address: ListenAddress,
  secret: ClusterSecret,
  patience: Patience,
  handlers: {
    readonly connected: (socket: FrameSocket) => void;
    readonly refused: (reason: string) => void;
  },
): Promise<Listener> {
  const { connected } = handlers;
  const refused = sparing(handlers.refused, patience.clock);
  const pending = new PendingHandshakes(MAXIMUM_PENDING);
  const server = createServer({
    ...serverTls(secret),
    handshakeTimeout: patience.milliseconds,
  });
  server.on("connection", (socket) => pending.add(socket));
  server.on("secureConnection", (socket) => {
    pending.remove(socket);
    connected(new FrameSocket(socket));
  });
  server.on("tlsClientError", (error, socket) => refused(refusalOf(error, socket)));
  server.listen(address.port, address.host);
  await once(server, "listening");
  server.on("error", (error) => refused(error.message));
  return { address: addressOf(server), close: () => server.close() };
}

/** Rejects with HandshakeError if the secrets differ, else with what went wrong. */
export async function dial(
  address: Address,
  secret: ClusterSecret,
  patience: Patience,
): Promise<FrameSocket> {
  const { host, port } = address;
  const socket = connect({ ...clientTls(secret), host, port });
  const cancel = patience.clock.after(patience.milliseconds, () =>
    socket.destroy(new Error(`no connection within ${patience.milliseconds} ms`)),
  );
  try {
    await once(socket, "secureConnect");
    return new FrameSocket(socket);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    const where = `${host}:${port}`;
    if (!isTlsError(code)) throw new Error(`${where}: ${message}`, { cause: error });
    throw new HandshakeError(`${where}: ${WRONG_SECRET} (${code})`, { cause: error });
  } finally {
    cancel();
  }
}

/** Gives a conversation a deadline, after which its socket is closed and it rejects. */
export async function withDeadline<T>(
  socket: FrameSocket,
  { milliseconds, clock }: Patience,
  conversation: () => Promise<T>,
): Promise<T> {
  const cancel = clock.after(milliseconds, () =>
    socket.destroy(new Error(`no handshake within ${milliseconds} ms`)),
  );
  try {
    return await conversation();
  } finally {
    cancel();
  }
}

const WRONG_SECRET = "the other side does not know this cluster's secret";

const isTlsError = (code: string) => code.startsWith("ERR_SSL_");

function refusalOf(error: NodeJS.ErrnoException, socket: TLSSocket): string {
  const { code = "", message } = error;
  const reason = isTlsError(code) ? `${WRONG_SECRET} (${code})` : message;
  return `${socket.remoteAddress}:${socket.remotePort}: ${reason}`;
}

function addressOf(server: Server): Address {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a TCP port");
  return { host: address.address, port: address.port };
}
