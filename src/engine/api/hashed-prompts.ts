import { BlockKeys, bytesOfKeys, coversPages } from "../../kv-cache/index.ts";
import type { GenerationRequest } from "../messages.ts";

/** Hashes a prompt once, however many choices and ranks compute it; one with some keys from there on. */
export class HashedPrompts {
  readonly #known = new WeakMap<Uint32Array, { readonly tenant: string; keys: Uint8Array }>();

  withKeys(request: GenerationRequest): GenerationRequest {
    const { prompt, tenant } = request;
    const { blockKeys } = request;
    if (blockKeys && coversPages(blockKeys, prompt.length)) return request;
    const known = this.#known.get(prompt);
    if (known?.tenant === tenant) return { ...request, blockKeys: known.keys };
    const keys = bytesOfKeys(new BlockKeys(tenant, blockKeys).upTo(prompt));
    this.#known.set(prompt, { tenant, keys });
    return { ...request, blockKeys: keys };
  }
}
