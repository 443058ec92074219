/**
 * A precision policy fixes where a model rounds; it is part of the model's identity.
 *
 * - `f32`: float32 activations and KV; the parity oracle.
 * - `w8a16`: every matmul input, KV entry and expert output row is rounded to BF16 once.
 * - `w8a8`: as w8a16, but the input of every FP8 linear layer is quantised to FP8 with one scale
 *   per row and 128 columns, as DeepSeek-V3 was trained.
 */
export type Policy = "f32" | "w8a16" | "w8a8";

/**
 * How the scales of quantised values are kept: any float32, or powers of two ("ue8m0", as
 * DeepSeek-V3.1 was trained), rounded up so that no value overflows.
 */
export type ScaleFormat = "f32" | "ue8m0";

export const scaleFormats: readonly ScaleFormat[] = ["f32", "ue8m0"];

export const policies: readonly Policy[] = ["f32", "w8a16", "w8a8"];
