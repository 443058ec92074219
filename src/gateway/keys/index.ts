export { type Caller, Keyring } from "./keyring.ts";
export { type NamedKey, readKeysFile } from "./keys-file.ts";
