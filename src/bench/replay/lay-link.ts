#!/usr/bin/env node
/**
 * Two network namespaces of this machine joined by a wire, until a signal: for nodes that are to speak over
 * a real one. For root, on Linux.
 *
 *   npm run link -- 1Gbps     or 200us,1Gbps where the kernel has netem
 */
import { once } from "node:events";
import { parseWire } from "../../cluster/index.ts";
import { layLink } from "./link.ts";

const [wire = "1Gbps"] = process.argv.slice(2);
const stopped = Promise.race(["SIGINT", "SIGTERM"].map((signal) => once(process, signal)));
const link = layLink(parseWire(wire));
console.log(`${wire} between two namespaces. In one, at ${link.address}:

  ${link.near.join(" ")} npx daysix serve --nodes 2 --listen ${link.address}:7000 --secret-file secret …

in the other:

  ${link.far.join(" ")} npx daysix node --join ${link.address}:7000 --secret-file secret …

Ctrl-C takes the wire away.`);
const alive = setInterval(() => undefined, 60_000);
await stopped;
clearInterval(alive);
link.remove();
