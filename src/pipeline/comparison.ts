import { type Durations, pictureDurations } from "./timeline.ts";

/** What a way to pipeline costs, as DeepSeek's table counts it. */
export interface MethodCost {
  readonly method: string;
  /** Time that a rank waits. */
  readonly bubble: number;
  /** Copies of the model over all ranks. */
  readonly parameters: number;
  /** Inputs of a stage that a rank keeps at the most. */
  readonly activations: number;
  readonly ranks: number;
}

/** DeepSeek's table for an even number of stages. */
export function compareMethods(
  stages: number,
  durations: Durations = pictureDurations,
): MethodCost[] {
  const { F, B, W, "F&B": FB } = durations;
  const oneWay = { parameters: 1, activations: stages, ranks: stages };
  const bothWays = {
    bubble: (stages / 2 - 1) * (FB + B - 3 * W),
    parameters: 2,
    activations: stages + 1,
  };
  return [
    { method: "1F1B", bubble: (stages - 1) * (F + B), ...oneWay },
    { method: "ZB1P", bubble: (stages - 1) * (F + B - 2 * W), ...oneWay },
    { method: "DualPipe", ...bothWays, ranks: stages },
    { method: "DualPipeV", ...bothWays, ranks: stages / 2 },
  ];
}
