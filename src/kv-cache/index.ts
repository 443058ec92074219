export { PagePool } from "./page-pool.ts";
export { BlockKeys, type BlockKey } from "./prefix.ts";
