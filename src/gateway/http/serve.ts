import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { Gateway } from "./gateway.ts";

export interface RunningServer {
  readonly address: AddressInfo;
  /** Refuses new requests, lets live ones finish until `deadlineMs`, then closes. */
  drain(deadlineMs: number): Promise<void>;
  /** Closes at once; live answers are cut. */
  close(): Promise<void>;
}

/** Time for the last bytes, and for the errors of what a drain's deadline has ended. */
const FAREWELL_MS = 500;

/** The gateway on a socket. Rejects when the address cannot be had. */
export async function serveGateway(
  gateway: Gateway,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<RunningServer> {
  const server = createAdaptorServer({
    fetch: gateway.app.fetch,
    overrideGlobalObjects: false,
    serverOptions: {
      keepAliveTimeout: gateway.limits.idleMs,
      headersTimeout: gateway.limits.headersMs,
      // Node's own deadline, for whatever is not read by then.
      requestTimeout: 2 * (gateway.limits.headersMs + gateway.limits.bodyMs),
    },
  }) as Server;
  server.maxConnections = gateway.limits.connections;
  server.on("drop", () => gateway.refuseConnection());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const close = async (farewellMs: number) => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const farewell = setTimeout(() => server.closeAllConnections(), farewellMs);
    await closed;
    clearTimeout(farewell);
  };
  return {
    address: server.address() as AddressInfo,
    drain: async (deadlineMs) => {
      await gateway.drain(deadlineMs);
      await close(FAREWELL_MS);
    },
    close: () => close(0),
  };
}
