// Builds the native kernels with the node-gyp that npm carries; downloads nothing. Without a compiler the TypeScript
// reference kernels run, so a failed build fails no installation.
//
//   node native/build.mjs            what `npm run build:native` does: only what has changed
//   node native/build.mjs --install  what an installation does: not where the package holds a build for this machine
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const log = join(root, "build", "native.log");

/** npm names its node-gyp to the scripts it runs; otherwise it lies beside Node's npm. */
function findNodeGyp() {
  const beside = resolve(dirname(process.execPath), "../lib/node_modules/npm");
  return [
    process.env.npm_config_node_gyp,
    join(beside, "node_modules/node-gyp/bin/node-gyp.js"),
    join(dirname(process.execPath), "node_modules/npm/node_modules/node-gyp/bin/node-gyp.js"),
  ].find((path) => path && existsSync(path));
}

/** A folder with common.gypi: this Node's own headers, or ours beside those of node-api-headers. */
function headers() {
  const own = resolve(dirname(process.execPath), "..");
  return existsSync(join(own, "include/node/common.gypi")) ? own : join(root, "native/headers");
}

function hasPrebuild() {
  try {
    require(`../prebuilds/${process.platform}-${process.arch}/daysix.node`);
    return true;
  } catch {
    return false;
  }
}

/** node-gyp writes its Makefile anew only where what it was made from has changed. */
function commands() {
  const made = statSync(join(root, "build/Makefile"), { throwIfNoEntry: false });
  const from = statSync(join(root, "binding.gyp"));
  return made && made.mtimeMs > from.mtimeMs ? ["build"] : ["configure", "build"];
}

function build() {
  if (process.platform === "win32") return "they are not written for Windows yet";
  const nodeGyp = findNodeGyp();
  if (!nodeGyp) return "npm's node-gyp was not found";
  mkdirSync(join(root, "build"), { recursive: true });
  let output = "";
  for (const command of commands()) {
    const run = spawnSync(
      process.execPath,
      [
        nodeGyp,
        command,
        `--nodedir=${headers()}`,
        `--jobs=${availableParallelism()}`,
        `--node_addon_api=${dirname(require.resolve("node-addon-api"))}`,
        `--node_api_headers=${require("node-api-headers").include_dir}`,
        ...process.argv.slice(2).filter((argument) => argument !== "--install"),
      ],
      { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 },
    );
    output += `${run.stdout}${run.stderr}`;
    writeFileSync(log, output);
    if (run.status !== 0) return `the build failed; ${log} says why`;
    for (const warning of output.matchAll(/^.*\bwarning: .*$/gm)) console.warn(warning[0]);
  }
}

const installing = process.argv.includes("--install");
if (!(installing && hasPrebuild())) {
  const problem = build();
  if (problem)
    console.warn(`No native kernels: ${problem}. The slower reference kernels will run.`);
}
