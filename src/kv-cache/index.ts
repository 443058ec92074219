export {
  ArrivingKv,
  decodeTransfer,
  encodeTransfer,
  readEntries,
  TransferError,
  type PagedKv,
  type TransferMessage,
} from "./transfer.ts";
export { PagePool } from "./page-pool.ts";
export { BlockKeys, type BlockKey } from "./prefix.ts";
