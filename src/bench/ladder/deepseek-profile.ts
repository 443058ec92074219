import type { UnitFigures } from "./figures.ts";

/**
 * Where the time of a layer goes in DeepSeek's own traces (profile-data), as LMSYS read them off kernel by
 * kernel (blog, 2025-05-05, figures profile-prefill and profile-decode; milliseconds, ±0.5 %). Prefill: 34.63,
 * compute 31.58, its stream's bubbles 2.46, communication 30.81. Decode: 1.422, compute 1.118, of it 0.245 kernels that
 * send, receive and wait; 1.12 of rows under way (DeepEP's 192 and 369 µs, twice), of which 0.082 are waited for.
 */
export const deepseekProfile: readonly (Pick<
  UnitFigures,
  "role" | "compute" | "covered" | "exposed" | "idle" | "coveredShare"
> & { readonly name: string })[] = [
  {
    name: "DeepSeek's profile, EP32",
    role: "prefill",
    compute: 31.58 / 34.63,
    covered: (30.81 - 2.46) / 34.63,
    exposed: 2.46 / 34.63,
    idle: (34.63 - 31.58 - 2.46) / 34.63,
    coveredShare: (30.81 - 2.46) / 30.81,
  },
  {
    name: "DeepSeek's profile, EP128",
    role: "decode",
    compute: (1.118 + 0.245 - 0.082) / 1.422,
    covered: (1.12 - 0.082) / 1.422,
    exposed: 0.082 / 1.422,
    idle: (1.422 - 1.118 - 0.245) / 1.422,
    coveredShare: (1.12 - 0.082) / 1.12,
  },
];
