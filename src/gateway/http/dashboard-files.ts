import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";

/** A file of the page as it is answered. */
interface PageFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** The page loads its own files and talks to its own server; nothing else. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The dashboard's files, read once: a path that names none of them reaches no disk. */
export class DashboardFiles {
  readonly #files: ReadonlyMap<string, PageFile>;

  /** Reads what `vite build` wrote; without a build there are no files. */
  static async load(directory: string): Promise<DashboardFiles> {
    const names = await readdir(directory, { recursive: true }).catch(() => []);
    const files = new Map<string, PageFile>();
    for (const name of names) {
      const type = types[extname(name)];
      if (type === undefined) continue;
      const path = name === "index.html" ? "/" : `/${name.replaceAll("\\", "/")}`;
      files.set(path, {
        bytes: new Uint8Array(await readFile(join(directory, name))),
        headers: headersOf(path, type),
      });
    }
    return new DashboardFiles(files);
  }

  private constructor(files: ReadonlyMap<string, PageFile>) {
    this.#files = files;
  }

  /** Paths from `/`, which is the page itself. */
  get paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** @throws RangeError for a path that is not one of `paths`. */
  respond(path: string): Response {
    const file = this.#files.get(path);
    if (!file) throw new RangeError(`the dashboard has no ${path}`);
    return new Response(file.bytes, { headers: file.headers });
  }
}

/** Names below assets/ change with their content; the page's own does not. */
function headersOf(path: string, type: string): PageFile["headers"] {
  const fixed = path.startsWith("/assets/");
  return {
    "content-type": type,
    "cache-control": fixed ? "public, max-age=31536000, immutable" : "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    ...(path === "/" && { "content-security-policy": contentSecurityPolicy }),
  };
}
