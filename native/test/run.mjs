// Builds the drivers in this folder under gcc's or clang's sanitizers and runs them, for every instruction set this
// machine has: `npm run test:sanitize`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const native = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const out = resolve(native, "../build/sanitize");
const compiler = process.env.CXX ?? "g++";

const sanitizers = {
  "address,undefined": ["-fno-sanitize-recover=all"],
  thread: [],
};

const avx2 = ["-mavx2", "-mfma", "-mf16c"];
const avx512 = ["f", "bw", "vl", "dq", "vbmi", "vnni"].map((part) => `-mavx512${part}`);
avx512.push("-mgfni", ...avx2);
const avx512bf16 = ["-mavx512bf16", ...avx512];
const amx = [...avx512bf16, "-DDAYSIX_TILES"];
const emulateTiles = "-DDAYSIX_EMULATE_TILES";
const x64 = { ...(process.platform === "linux" ? { amx } : {}), avx512bf16, avx512, avx2 };
const instructionSets = { portable: [], ...(process.arch === "x64" ? x64 : {}) };

/** What binding.gyp compiles besides the kernels, less the Node-API face. */
const sources = [
  "decode",
  "exchange",
  "grouped-mlp",
  "indices",
  "isa",
  "mapped-names",
  "stamp",
  "stream",
  "strips",
  "team",
  "weight-files",
].map((name) => `host/${name}.cc`);

const flagsOf = (sanitizer) => [
  ...[
    "-std=c++20",
    `-I${native}`,
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fno-omit-frame-pointer",
    "-pthread",
  ],
  ...[`-fsanitize=${sanitizer}`, ...sanitizers[sanitizer]],
];

async function run(command, args) {
  const child = spawn(command, args, {
    stdio: "inherit",
    env: { ...process.env, UBSAN_OPTIONS: "print_stacktrace=1" },
  });
  const [status] = await once(child, "exit");
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ended with ${status}`);
}

/** Instruction sets this processor has, by the names Linux gives their parts. */
function isSupported(instructionSet) {
  const parts = {
    portable: [],
    avx2: ["avx2", "fma", "f16c"],
    avx512: ["avx512_vbmi", "gfni", "avx512_vnni"],
    avx512bf16: ["avx512_vbmi", "gfni", "avx512_vnni", "avx512_bf16"],
    amx: ["avx512_vbmi", "gfni", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"],
  }[instructionSet];
  const words = new Set(readFileSync("/proc/cpuinfo", "utf8").split(/\s+/));
  return parts.every((part) => words.has(part));
}

/** Every instruction set, emulated tiles among them. */
async function testStream(sanitizer, folder) {
  const compiled = Object.entries(instructionSets).map(async ([instructionSet, flags]) => {
    const object = join(folder, `kernels-${instructionSet}.o`);
    const define = `-DDAYSIX_ISA=${instructionSet}`;
    const kernels = join(native, "kernels.cc");
    await run(compiler, [
      ...flagsOf(sanitizer),
      ...flags,
      "-w",
      define,
      emulateTiles,
      "-c",
      kernels,
      "-o",
      object,
    ]);
    return object;
  });
  const objects = await Promise.all(compiled);
  const driver = join(folder, "stream-test");
  const parts = [...sources.map((name) => join(native, name)), join(native, "test/stream-test.cc")];
  await run(compiler, [...flagsOf(sanitizer), emulateTiles, ...parts, ...objects, "-o", driver]);
  await run(driver, []);
}

/** A driver of one topic's kernels, compiled for each instruction set, and for emulated tiles. */
async function testKernels(name, sanitizer, folder) {
  const drivers = Object.entries(instructionSets).filter(([set]) => isSupported(set));
  if ("amx" in instructionSets && isSupported("avx512bf16"))
    drivers.push(["amx", [...amx, emulateTiles]]);
  await Promise.all(
    drivers.map(async ([instructionSet, flags]) => {
      const suffix = flags.includes(emulateTiles) ? "-emulated" : "";
      const driver = join(folder, `${name}-${instructionSet}${suffix}`);
      const files = [join(native, `test/${name}.cc`), join(native, "host/strips.cc")];
      const define = `-DDAYSIX_ISA=${instructionSet}`;
      await run(compiler, [...flagsOf(sanitizer), ...flags, "-w", define, ...files, "-o", driver]);
      await run(driver, []);
    }),
  );
}

for (const sanitizer of Object.keys(sanitizers)) {
  console.log(sanitizer);
  const folder = join(out, sanitizer.split(",")[0]);
  mkdirSync(folder, { recursive: true });
  await testStream(sanitizer, folder);
  // Races are the stream's to have: the other drivers bring a team of their own.
  if (sanitizer === "thread") continue;
  for (const name of ["chain-test", "gemm-test", "int4-test", "attention-test"])
    await testKernels(name, sanitizer, folder);
}
