import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import type { WireRate } from "../../cluster/index.ts";

/** Two network namespaces of this machine and the wire between them; for root, on Linux. */
export interface Link {
  /** Address of the first namespace. */
  readonly address: string;
  /** The words that run a command in a namespace. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly ends: readonly LinkEnd[];
  remove(): void;
}

export interface LinkEnd {
  readonly namespace: string;
  readonly device: string;
}

const ADDRESSES = ["10.86.0.1", "10.86.0.2"] as const;

const run = (command: string) => execFileSync("/bin/sh", ["-c", command], { stdio: "pipe" });
const bucketOf = (bitsPerSecond: number) =>
  `root handle 1: tbf rate ${Math.round(bitsPerSecond)}bit burst 256kb latency 10s`;

/**
 * Lays a pair of virtual Ethernet devices, each of which lets so much through (a token bucket) and, where
 * the kernel has netem, delays it.
 */
export function layLink({ latencyMs, bitsPerSecond }: WireRate): Link {
  const ends = ["a", "b"].map((end) => ({
    namespace: `daysix-${process.pid}-${end}`,
    device: `ds${process.pid}${end}`,
  }));
  const remove = () => ends.forEach(({ namespace }) => run(`ip netns del ${namespace} || true`));
  try {
    for (const { namespace } of ends) run(`ip netns add ${namespace}`);
    run(`ip link add ${ends[0].device} type veth peer name ${ends[1].device}`);
    ends.forEach(({ namespace, device }, end) => {
      const inside = `ip netns exec ${namespace}`;
      run(`ip link set ${device} netns ${namespace}`);
      run(`${inside} ip address add ${ADDRESSES[end]}/24 dev ${device}`);
      run(`${inside} ip link set ${device} up && ${inside} ip link set lo up`);
      const add = `${inside} tc qdisc add dev ${device}`;
      if (bitsPerSecond) run(`${add} ${bucketOf(bitsPerSecond)}`);
      const place = bitsPerSecond ? "parent 1:1" : "root";
      if (latencyMs) run(`${add} ${place} netem delay ${latencyMs * 1000}us limit 100000`);
    });
  } catch (error) {
    remove();
    throw error;
  }
  const [near, far] = ends.map(({ namespace }) => ["ip", "netns", "exec", namespace]);
  return { address: ADDRESSES[0], near, far, ends, remove };
}

/** Gives a wire that has no latency another rate. */
export function setRate(ends: readonly LinkEnd[], bitsPerSecond: number): void {
  for (const { namespace, device } of ends) {
    run(`ip netns exec ${namespace} tc qdisc replace dev ${device} ${bucketOf(bitsPerSecond)}`);
  }
}

const GIVEN = "DAYSIX_BENCH_LINK";

/**
 * Runs this program again in a link's near namespace, on the first core, where it finds `given`; exits as
 * it does. `started` may talk with it.
 */
export async function runAgainNear(
  link: Link,
  given: object,
  started: (child: ChildProcess) => void = () => undefined,
): Promise<never> {
  const [program, ...words] = [...link.near, "taskset", "-c", "0", ...process.argv];
  const child = spawn(program, words, {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, [GIVEN]: JSON.stringify(given) },
  });
  started(child);
  const status = await new Promise<number>((resolve) =>
    child.once("exit", (code) => resolve(code ?? 1)),
  );
  link.remove();
  process.exit(status);
}

/** What the program was given that runs near; nothing where it was started by hand. */
export function givenNear(): unknown {
  const given = process.env[GIVEN];
  return given === undefined ? undefined : JSON.parse(given);
}
