import { PriceBook, type PriceBookJson } from "./price-book.ts";

const r1 = { hit: "0.14", miss: "0.55", output: "2.19" };
const v3 = { hit: "0.07", miss: "0.27", output: "1.10" };
/** V3 at half and R1 at a quarter of the price, which made both the same. */
const night = {
  ...{ name: "off-peak", from: "16:30", to: "00:30" },
  ...{ hit: "0.035", miss: "0.135", output: "0.55" },
};

const nightsBegin = "2025-02-26T16:30:00Z";
const nightsEnd = "2025-09-05T16:00:00Z";

/**
 * DeepSeek's dollars per million tokens around the published day, from its page "Models & Pricing"
 * (api-docs.deepseek.com/quick_start/pricing) of spring 2025: "off-peak pricing discounts during
 * 16:30-00:30 UTC each day. The completion timestamp of each request determines its pricing tier."
 * R1's price is every model's, because the theoretical income of day 6 was reckoned in it; V3's is
 * that of `deepseek-chat`. What DeepSeek asked for later models is left out: these prices go on.
 */
const deepSeekPrices: PriceBookJson = {
  prices: [
    { name: "DeepSeek-R1", from: "2025-01-20T00:00:00Z", ...r1 },
    { name: "DeepSeek-R1", from: nightsBegin, ...r1, windows: [night] },
    { name: "DeepSeek-R1", from: nightsEnd, ...r1 },
    { name: "DeepSeek-V3", from: "2025-02-08T16:00:00Z", models: ["deepseek-chat"], ...v3 },
    { name: "DeepSeek-V3", from: nightsBegin, models: ["deepseek-chat"], ...v3, windows: [night] },
    { name: "DeepSeek-V3", from: nightsEnd, models: ["deepseek-chat"], ...v3 },
  ],
};

/** The prices where no others are given. */
export const defaultPrices = PriceBook.parse(deepSeekPrices);
