#!/usr/bin/env node
/**
 * `npm run bench:stores [-- FOLDER]`: the three stores of the context cache. Bytes a second of blocks written
 * and read, beside what a file and a socket of this machine give; then Mooncake's conversations through each,
 * with a server that stands still for a second in the middle and is killed later.
 */
import { tellStores } from "./stores-fixtures.ts";

const [folder = "../shared/data/mooncake"] = process.argv.slice(2);
await tellStores(folder);
