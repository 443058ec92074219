import { logarithm, power, type Rope } from "../../kernels/index.ts";
import type { ModelConfig } from "../checkpoint/index.ts";

type Yarn = NonNullable<ModelConfig["rope"]["scaling"]>;

/**
 * Frequencies of the rotary embedding, with YaRN where the config asks for it (static: applied at
 * every length). Angles are computed in float32, as Hugging Face's reference does.
 */
export function ropeOf(config: ModelConfig): Rope {
  const { theta, scaling, interleaved } = config.rope;
  const width = config.ropeWidth;
  const frequencies = Float32Array.from({ length: width / 2 }, (_, i) =>
    power(theta, (-2 * i) / width),
  );
  if (!scaling) return { frequencies, amplitude: 1, interleaved };
  const ramp = yarnRamp(scaling, theta, width);
  return {
    frequencies: frequencies.map((f, i) => f * (1 - ramp[i]) + (f / scaling.factor) * ramp[i]),
    amplitude: yarnAmplitude(scaling),
    interleaved,
  };
}

/** (nope + rope)^(−1/2), times YaRN's mscale² when `mscale_all_dim` is set. */
export function softmaxScale(config: ModelConfig): number {
  const { scaling } = config.rope;
  const correction = scaling?.mscaleAllDim ? mscale(scaling.factor, scaling.mscaleAllDim) : 1;
  return Math.fround((correction * correction) / Math.sqrt(config.nopeWidth + config.ropeWidth));
}

function mscale(factor: number, weight: number): number {
  return factor <= 1 ? 1 : 0.1 * weight * logarithm(factor) + 1;
}

/** The amplitude is a ratio; Hugging Face falls back to mscale(1) where either part is missing. */
function yarnAmplitude({ factor, mscale: weight, mscaleAllDim }: Yarn): number {
  if (!weight || !mscaleAllDim) return mscale(factor, 1);
  return mscale(factor, weight) / mscale(factor, mscaleAllDim);
}

/**
 * How far each frequency is interpolated: 0 for frequencies that turn often within the original
 * length, 1 for frequencies that turn seldom. The upper end is clamped to width − 1 though there are only
 * width / 2 frequencies; that is the reference's arithmetic.
 */
function yarnRamp(scaling: Yarn, theta: number, width: number): number[] {
  const dimensionOf = (turns: number) =>
    (width * logarithm(scaling.originalLength / (turns * 2 * Math.PI))) / (2 * logarithm(theta));
  const low = Math.max(Math.floor(dimensionOf(scaling.betaFast)), 0);
  let high = Math.min(Math.ceil(dimensionOf(scaling.betaSlow)), width - 1);
  if (low === high) high += 0.001;
  return Array.from({ length: width / 2 }, (_, i) =>
    Math.min(Math.max((i - low) / (high - low), 0), 1),
  );
}
