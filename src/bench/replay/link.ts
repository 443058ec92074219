import { execFileSync } from "node:child_process";
import type { WireRate } from "../../cluster/index.ts";

/** Two network namespaces of this machine and the wire between them; for root, on Linux. */
export interface Link {
  /** Address of the first namespace. */
  readonly address: string;
  /** The words that run a command in a namespace. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  remove(): void;
}

const ADDRESSES = ["10.86.0.1", "10.86.0.2"] as const;

/**
 * Lays a pair of virtual Ethernet devices, each of which lets so much through (a token bucket) and, where
 * the kernel has netem, delays it.
 */
export function layLink({ latencyMs, bitsPerSecond }: WireRate): Link {
  const names = [`daysix-${process.pid}-a`, `daysix-${process.pid}-b`] as const;
  const devices = [`ds${process.pid}a`, `ds${process.pid}b`] as const;
  const run = (command: string) => execFileSync("/bin/sh", ["-c", command], { stdio: "pipe" });
  const remove = () => names.forEach((name) => run(`ip netns del ${name} || true`));
  try {
    for (const name of names) run(`ip netns add ${name}`);
    run(`ip link add ${devices[0]} type veth peer name ${devices[1]}`);
    names.forEach((name, end) => {
      const device = devices[end];
      const inside = `ip netns exec ${name}`;
      run(`ip link set ${device} netns ${name}`);
      run(`${inside} ip address add ${ADDRESSES[end]}/24 dev ${device}`);
      run(`${inside} ip link set ${device} up && ${inside} ip link set lo up`);
      const add = `${inside} tc qdisc add dev ${device}`;
      const bucket = `tbf rate ${bitsPerSecond}bit burst 256kb latency 10s`;
      if (bitsPerSecond) run(`${add} root handle 1: ${bucket}`);
      const place = bitsPerSecond ? "parent 1:1" : "root";
      if (latencyMs) run(`${add} ${place} netem delay ${latencyMs * 1000}us limit 100000`);
    });
  } catch (error) {
    remove();
    throw error;
  }
  const [near, far] = names.map((name) => ["ip", "netns", "exec", name]);
  return { address: ADDRESSES[0], near, far, remove };
}
