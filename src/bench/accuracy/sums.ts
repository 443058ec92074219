import { createHash } from "node:crypto";
import { randomSource } from "../../kernels/index.ts";

/** A question that calf was not trained on, and its answer. */
export interface Sum {
  readonly text: string;
  readonly answer: string;
}

/** As training/skills.py: one key in ten, by hash, is never trained on. */
function isHeldOut(key: string): boolean {
  return createHash("sha256").update(key).digest()[0] < 26;
}

/** Sums and differences of one to three digits in turn. */
export function heldOutSums(count: number, seed: number): Sum[] {
  const random = randomSource(seed);
  const sums = new Map<string, string>();
  for (let i = 0; sums.size < count; i++) {
    const draw = () => Math.floor(random() * 10 ** (1 + (i % 3)));
    const [a, b] = [draw(), draw()];
    const isSum = i % 2 === 0;
    const key = isSum ? `${Math.min(a, b)}+${Math.max(a, b)}` : `${a}-${b}`;
    if (isHeldOut(key)) {
      sums.set(`What is ${a} ${isSum ? "+" : "-"} ${b}?`, `${isSum ? a + b : a - b}`);
    }
  }
  return [...sums].map(([text, answer]) => ({ text, answer }));
}
