import type { Policy } from "../policy.ts";
import type { WeightDtype } from "../weight-format.ts";
import type { Weight } from "../weight.ts";

/** Where generated inputs get their weights. */
export interface WeightMaker {
  create(
    random: () => number,
    dtype: WeightDtype,
    shape: readonly number[],
  ): { readonly weight: Weight };
}

export interface GeneratorSetting {
  readonly folder: WeightMaker;
  readonly policy: Policy;
  readonly seed: number;
}
