import { timingSafeEqual } from "node:crypto";
import { Tenant } from "../tenant.ts";
import { Allowance } from "./allowance.ts";
import { digestOf } from "./digest.ts";
import type { NamedKey } from "./keys-file.ts";

/** Who asks, and what may still be asked; without an allowance, anything. */
export interface Caller {
  readonly tenant: Tenant;
  readonly allowance: Allowance | undefined;
  /** May also change what serves. */
  readonly isOperator: boolean;
}

/** The keys that open the server. */
export class Keyring {
  /** Whoever comes, where there is no key. */
  readonly #anyone: Caller | undefined;
  readonly #callers: readonly (readonly [digest: Buffer, caller: Caller])[];

  /** `now`: milliseconds since 1970. */
  constructor(apiKey: string | undefined, keys: readonly NamedKey[], now: () => number) {
    const own = { tenant: Tenant.ofKey(apiKey), allowance: undefined, isOperator: true };
    this.#anyone = apiKey === undefined && keys.length === 0 ? own : undefined;
    this.#callers = [
      ...(apiKey === undefined ? [] : [[Buffer.from(digestOf(apiKey)), own] as const]),
      ...keys.map((key) => {
        const tenant = Tenant.named(key.name);
        const allowance = new Allowance(key, now);
        const caller = { tenant, allowance, isOperator: key.operator ?? false };
        return [Buffer.from(key.sha256), caller] as const;
      }),
    ];
  }

  /** No key is asked for. */
  get isOpen(): boolean {
    return this.#anyone !== undefined;
  }

  /** Undefined: the key opens nothing. */
  find(key: string | undefined): Caller | undefined {
    if (this.#anyone || key === undefined) return this.#anyone;
    const digest = Buffer.from(digestOf(key));
    return this.#callers.find(([known]) => timingSafeEqual(known, digest))?.[1];
  }

  /** A named key has spent so much before the server was started. */
  spent(name: string, ...spending: Parameters<Allowance["spend"]>): void {
    for (const [, { tenant, allowance }] of this.#callers) {
      if (tenant.name === name) allowance?.spend(...spending);
    }
  }
}
