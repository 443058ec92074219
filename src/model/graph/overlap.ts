/**
 * What a layer consists of: h += attention(norm(h)); h += feed-forward(norm(h)). Attention is a stage, or
 * two.
 */
export type Stage = "attention" | "project" | "attend" | "shared" | "experts";

/** Rows of a step that pass the layers together. */
export type Stages<Layer> = Readonly<Record<Stage, (layer: Layer) => Promise<void>>> & {
  /** Adds what the last layer's feed-forward has given, once it has come home. */
  finish(): Promise<void>;
};

/** A stage of one micro-batch, in the layer that a period is for or in the one before it. */
type Turn = readonly [microBatch: "a" | "b", stage: Stage, layer?: "before"];

/**
 * The order in which a step's micro-batches pass a layer. `b` holds the earlier rows, so that `a` may
 * go on with its prompt: b's KV of a layer is written before a's attention reads it.
 *
 * `prefill` and `decode` are DeepSeek's (profile-data): while the one's rows are dispatched or come
 * back, the other is computed.
 */
const orders = {
  /** One micro-batch: the shared expert over the dispatch. */
  whole: [
    ["b", "attention"],
    ["b", "shared"],
    ["b", "experts"],
  ],
  /** ATTN(b) SHARED(a) ATTN(a) MLP(b) MLP(a) SHARED(b) over COMBINE(a) DISPATCH(b) DISPATCH(a) COMBINE(b) */
  prefill: [
    ["b", "attention"],
    ["a", "shared", "before"],
    ["a", "attention"],
    ["b", "experts"],
    ["a", "experts"],
    ["b", "shared"],
  ],
  /** Five stages: SHARED and ATTN-0 of the other over DISPATCH, MLP, ATTN-1 of the other over COMBINE. */
  decode: [
    ["a", "shared", "before"],
    ["b", "project"],
    ["a", "experts", "before"],
    ["b", "attend"],
    ["b", "shared"],
    ["a", "project"],
    ["b", "experts"],
    ["a", "attend"],
  ],
} as const satisfies Readonly<Record<string, readonly Turn[]>>;

export type Order = keyof typeof orders;

/**
 * Takes one micro-batch, or the two of an order that overlaps them, through the layers. `projected`
 * is called when the work is enqueued that writes a layer's KV.
 */
export async function passLayers<Layer>(
  layers: readonly Layer[],
  microBatches: { readonly b: Stages<Layer>; readonly a?: Stages<Layer> },
  order: Order,
  projected: (layer: Layer) => void = () => undefined,
): Promise<void> {
  const { b, a } = microBatches;
  const last = a ? "a" : "b";
  const turns: readonly Turn[] = orders[order];
  for (let period = 0; period <= layers.length; period++) {
    for (const [name, stage, before] of turns) {
      const layer = layers[before ? period - 1 : period];
      if (!layer) continue;
      await microBatches[name]?.[stage](layer);
      if (name === last && (stage === "project" || stage === "attention")) projected(layer);
    }
  }
  await b.finish();
  await a?.finish();
}
