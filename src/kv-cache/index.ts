export {
  decodeTransfer,
  encodeTransfer,
  entryBytes,
  readEntries,
  TransferError,
  type KvEntries,
  type Loan,
  type TransferMessage,
  writeEntries,
} from "./transfer.ts";
export type { BlobStore } from "./blob-store.ts";
export {
  addContextCacheStats,
  ContextCache,
  type ContextCacheOptions,
  type ContextCacheStats,
  type Lent,
  withLoans,
} from "./context-cache.ts";
export { DirectoryBlobStore } from "./directory-blob-store.ts";
export { createPermits, FilePermits } from "./file-permits.ts";
export type { StoreLimits } from "./eviction.ts";
export { MemoryBlobStore } from "./memory-blob-store.ts";
export { openBlobStore, storeUrl } from "./open-blob-store.ts";
export { PagePool } from "./page-pool.ts";
export { BlockKeys, bytesOfKeys, coversPages, type BlockKey } from "./prefix.ts";
