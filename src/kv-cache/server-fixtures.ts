/** Stores that are servers, started for tests. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "../cluster/fixtures.ts";

/** A server that a test has started; `place` is what `--cache` takes. */
export interface StoreServer {
  readonly place: string;
  /** Stands still, its connections open, until it is resumed. */
  readonly pause: () => void;
  readonly resume: () => void;
  readonly kill: () => Promise<void>;
  /** With what it kept. */
  readonly restart: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

interface ServerProgram {
  readonly command: string;
  readonly options: (port: number, folder: string) => readonly string[];
  /** What it says once it listens. */
  readonly ready: RegExp;
  readonly place: (port: number) => string;
}

export interface StoreServerKind {
  readonly name: string;
  readonly skip: string | false;
  readonly start: () => Promise<StoreServer>;
}

const programs = ["valkey-server", "redis-server"];
const folders = (process.env["PATH"] ?? "").split(delimiter);
const valkey = programs.find((name) => folders.some((folder) => existsSync(join(folder, name))));

export const storeServers: readonly StoreServerKind[] = [
  {
    name: "valkey",
    skip: valkey === undefined && `neither ${programs.join(" nor ")} is installed`,
    start: () =>
      startServer({
        command: valkey as string,
        options: (port, folder) =>
          `--port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly yes --appendfsync no`.split(
            " ",
          ),
        ready: /eady to accept connections/,
        place: (port) => `valkey://127.0.0.1:${port}/1`,
      }),
  },
  {
    name: "s3",
    skip: false,
    start: () => {
      // The server's own.
      process.env["AWS_ACCESS_KEY_ID"] = "S3RVER";
      process.env["AWS_SECRET_ACCESS_KEY"] = "S3RVER";
      return startServer({
        command: process.execPath,
        options: (port, folder) => [
          createRequire(import.meta.url).resolve("s3rver/bin/s3rver.js"),
          ...`-d ${folder} -a 127.0.0.1 -p ${port} --configure-bucket blocks`.split(" "),
        ],
        ready: /listening/,
        place: (port) => `s3://blocks/kv?endpoint=http://127.0.0.1:${port}`,
      });
    },
  },
];

async function startServer({
  command,
  options,
  ready,
  place,
}: ServerProgram): Promise<StoreServer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "daysix-store-"));
  let server: ChildProcess;
  const start = async () => {
    const started = spawn(command, options(port, folder), { stdio: ["ignore", "pipe", "inherit"] });
    server = started;
    await new Promise<void>((resolve, reject) => {
      let said = "";
      started.once("exit", () => reject(new Error(`${command} ended: ${said}`)));
      started.stdout.on("data", (bytes) => {
        said += String(bytes);
        if (ready.test(said)) resolve();
      });
    });
  };
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const over = once(server, "exit");
    server.kill("SIGKILL");
    await over;
  };
  await start();
  return {
    place: place(port),
    pause: () => server.kill("SIGSTOP"),
    resume: () => server.kill("SIGCONT"),
    kill,
    restart: () => kill().then(start),
    remove: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
