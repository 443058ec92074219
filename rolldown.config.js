// Joins each program that starts often to one file, in place of what tsc made of its entry: loading some 400 modules
// is two thirds of what a rank's thread needs to start, and half of what `daysix` does.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { defineConfig } from "rolldown";

const dist = resolve(import.meta.dirname, "dist");

/** What runs as a process or thread of its own. */
const programs = [
  "cli/main.js",
  "engine/fleet/node-process.js",
  "engine/fleet/worker.js",
  "gateway/text/mask-process.js",
  "gateway/text/worker.js",
  "pipeline/rank-thread.js",
];

/** Packages that find their own files at run time, or that a user may not have. */
const external = [/^pino/, "@aws-sdk/client-s3", "iovalkey"];

/** A module goes on to find what lies beside it. */
const locateFiles = (program) => ({
  name: "locate-files",
  transform(code, id) {
    if (!id.startsWith(dist) || !code.includes("import.meta.url")) return undefined;
    const path = relative(dirname(join(dist, program)), id);
    const url = `new URL(${JSON.stringify(path)}, import.meta.url).href`;
    return { code: code.replaceAll("import.meta.url", url), map: null };
  },
});

/** Folders of packages whose modules were joined. */
const joined = new Set();

/** Licences of the packages that were joined want to be beside their code. */
const keepLicences = {
  name: "keep-licences",
  generateBundle(_, bundle) {
    for (const { moduleIds = [] } of Object.values(bundle)) {
      for (const id of moduleIds) {
        const [folder] = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? [];
        if (folder) joined.add(folder);
      }
    }
    const texts = [...joined]
      .sort((a, b) => a.localeCompare(b))
      .map((folder) => {
        const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json")));
        const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
        const text = file ? readFileSync(join(folder, file), "utf8") : "";
        return `${name} ${version} (${license})\n\n${text.trim()}\n`;
      });
    writeFileSync(join(dist, "LICENCES"), texts.join(`\n${"-".repeat(72)}\n\n`));
  },
};

export default defineConfig(
  programs.map((program) => ({
    input: join(dist, program),
    platform: "node",
    external,
    plugins: [locateFiles(program), keepLicences],
    output: { file: join(dist, program), codeSplitting: false },
  })),
);
