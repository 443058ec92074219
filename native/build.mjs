// Builds the native kernels with the node-gyp that npm carries; downloads nothing. Without a compiler the TypeScript
// reference kernels run, so a failed build fails no installation.
//
//   node native/build.mjs             what `npm run build:native` does: only what has changed
//   node native/build.mjs --install   what an installation does: nothing where the package holds a build that loads
//   node native/build.mjs --prebuild  what `npm pack` does: a build for other machines of this platform
//   node native/build.mjs --emulate-tiles
//                                     for tests: the kernels on AMX's tiles, emulated, where DAYSIX_ISA=amx asks for them
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const log = join(root, "build", "native.log");
const makefile = join(root, "build", "Makefile");
const built = join(root, "build", "Release", "daysix.node");
const prebuild = join(root, "prebuilds", `${process.platform}-${process.arch}`, "daysix.node");

/** npm names its node-gyp to the scripts it runs; otherwise it lies beside Node's npm. */
function findNodeGyp() {
  const modules = resolve(dirname(process.execPath), "../lib/node_modules");
  const beside = join(modules, "npm/node_modules/node-gyp/bin/node-gyp.js");
  return [process.env.npm_config_node_gyp, beside].find((path) => path && existsSync(path));
}

/** A folder with common.gypi: this Node's own headers, or ours, to be used with node-api-headers. */
function headers() {
  const own = resolve(dirname(process.execPath), "..");
  return existsSync(join(own, "include/node/common.gypi")) ? own : join(root, "native/headers");
}

function loads(addon) {
  try {
    require(addon);
    return true;
  } catch {
    return false;
  }
}

/** node-gyp writes its Makefile anew only where what it was made from has changed. */
function commands(options) {
  const made = statSync(makefile, { throwIfNoEntry: false });
  const isFresh = made && made.mtimeMs > statSync(join(root, "binding.gyp")).mtimeMs;
  return isFresh && options.length === 0 ? ["build"] : ["configure", "build"];
}

/** Why there is no build; undefined where there is one. */
function build(...options) {
  try {
    return buildWith(options);
  } finally {
    // The next build has options of its own.
    if (options.length > 0) rmSync(makefile, { force: true });
  }
}

function buildWith(options) {
  if (process.platform === "win32") return "they are not written for Windows yet";
  const nodeGyp = findNodeGyp();
  if (!nodeGyp) return "npm's node-gyp was not found";
  mkdirSync(dirname(log), { recursive: true });
  let output = "";
  for (const command of commands(options)) {
    const run = spawnSync(
      process.execPath,
      [
        nodeGyp,
        command,
        `--nodedir=${headers()}`,
        `--jobs=${availableParallelism()}`,
        `--node_addon_api=${dirname(require.resolve("node-addon-api"))}`,
        `--node_api_headers=${require("node-api-headers").include_dir}`,
        ...options,
      ],
      { cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 },
    );
    output += `${run.stdout}${run.stderr}`;
    writeFileSync(log, output);
    if (run.status !== 0) {
      // An earlier build is of other sources, and would run in place of the reference.
      rmSync(built, { force: true });
      return `the build failed, ${log} says why`;
    }
  }
  for (const [warning] of output.matchAll(/^.*\bwarning: .*$/gm)) console.warn(warning);
  return undefined;
}

/** For machines whose C++ library is older; without a build there is nothing to pack. */
function buildForOthers() {
  const problem = build("--static_runtime=1");
  if (problem) throw new Error(problem);
  mkdirSync(dirname(prebuild), { recursive: true });
  copyFileSync(built, prebuild);
}

const [mode] = process.argv.slice(2);
if (mode === "--prebuild") {
  if (process.platform === "linux" && process.arch === "x64") buildForOthers();
} else if (mode !== "--install" || !loads(prebuild)) {
  const problem = mode === "--emulate-tiles" ? build("--emulate_tiles=1") : build();
  if (problem) console.warn(`No native kernels: ${problem}. The reference kernels will run.`);
}
