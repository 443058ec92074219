import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How a server of models behaves. */
export interface HubBehaviour {
  /** Connections that are cut in the middle of a file, before one is not. */
  cuts?: number;
  /** Whether cut responses end as if they were whole, with a length that says so. */
  shortensLengths?: boolean;
  /** Bytes of rubbish after each file. */
  excess?: number;
  ignoresRanges?: boolean;
  /** Files whose bytes are wrong as often. */
  damages?: number;
  /** Asked of every request, where there is one. */
  token?: string;
  /** Answers to files with this status, as often as `cuts`. */
  busy?: number;
}

export interface HubServer {
  readonly endpoint: string;
  readonly commit: string;
  /** Ranges that were asked for, by the beginning of each. */
  readonly starts: number[];
  close(): Promise<void>;
}

const sha = (algorithm: string, ...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash(algorithm)).digest("hex");

/** A copy whose first byte is another. */
function damaged(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  copy[0] ^= 1;
  return copy;
}

const MODEL = "org/tiny";

/** A server that speaks the hub's API about one model; files of 1 KiB and more are in large storage. */
export async function startHub(
  files: ReadonlyMap<string, Buffer>,
  behaviour: HubBehaviour = {},
): Promise<HubServer> {
  const commit = sha("sha1", "commit");
  const starts: number[] = [];
  const left = { cuts: behaviour.cuts ?? 0, damages: behaviour.damages ?? 0 };
  const list = () => ({
    sha: commit,
    siblings: [...files].map(([rfilename, content]) => ({
      ...{ rfilename, size: content.length },
      blobId: sha("sha1", `blob ${content.length}\0`, content),
      ...(content.length >= 1024
        ? { lfs: { sha256: sha("sha256", content), size: content.length } }
        : {}),
    })),
  });
  const give = (content: Buffer, request: IncomingMessage, response: ServerResponse) => {
    if (behaviour.busy && left.cuts-- > 0) {
      response.writeHead(behaviour.busy).end();
      return;
    }
    const asked = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const start = behaviour.ignoresRanges ? 0 : asked;
    starts.push(start);
    let rest = content.subarray(start);
    if (behaviour.excess) rest = Buffer.concat([rest, Buffer.alloc(behaviour.excess, 120)]);
    if (content.length >= 1024 && left.damages-- > 0) rest = damaged(rest);
    const isCut = content.length >= 1024 && left.cuts-- > 0;
    const said = isCut ? rest.subarray(0, Math.ceil(rest.length / 3)) : rest;
    const length = isCut && !behaviour.shortensLengths ? rest.length : said.length;
    const range = `bytes ${start}-${content.length - 1}/${content.length}`;
    response.writeHead(behaviour.ignoresRanges ? 200 : 206, {
      "content-length": length,
      ...(behaviour.ignoresRanges ? {} : { "content-range": range }),
    });
    response.write(said, () => (length > said.length ? response.destroy() : response.end()));
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "", "http://hub").pathname);
    const { token } = behaviour;
    if (token && request.headers.authorization !== `Bearer ${token}`) {
      response.writeHead(401).end();
    } else if (
      [`/api/models/${MODEL}/revision/main`, `/api/models/${MODEL}/revision/v1`].includes(path)
    ) {
      response.end(JSON.stringify(list()));
    } else {
      const content = files.get(path.replace(`/${MODEL}/resolve/${commit}/`, ""));
      if (content) give(content, request, response);
      else response.writeHead(404).end();
    }
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    ...{ commit, starts },
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}
