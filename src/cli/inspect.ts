import { freemem } from "node:os";
import { inspectModel } from "../model/index.ts";

/** `daysix inspect`: what a checkpoint holds and whether it fits this machine. */
export async function inspect(options: {
  readonly directory: string;
  readonly verify: boolean;
  readonly json: boolean;
}): Promise<void> {
  const { directory, verify, json } = options;
  const inspection = await inspectModel(directory, { verify, availableBytes: freemem() });
  if (json) {
    console.log(JSON.stringify(inspection, null, 2));
    return;
  }
  console.log(inspection);
}
