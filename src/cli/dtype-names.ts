import type { WeightDtype } from "../kernels/index.ts";

/** Dtypes as people say them. */
export const dtypeNames: Readonly<Record<WeightDtype, string>> = {
  ...{
    F32: "F32",
    BF16: "BF16",
    F16: "F16",
    F8_E4M3: "FP8",
    F8_E8M0: "E8M0",
    I8: "INT8",
    I4: "INT4",
  },
};
