import type { Command } from "cac";
import { createKernels } from "../kernels/index.ts";
import { notice } from "./notice.ts";

/** Adds the option that trades equal bits for speed. */
export function withFastDecode(command: Command): Command {
  return command.option(
    "--fast-decode",
    "Compute rows that are alone faster, with other bits than in company; one rank only",
  );
}

/** Whether the option is given; says where it changes nothing. */
export function fastDecodeOf(flags: Readonly<Record<string, unknown>>): boolean {
  const fastDecode = flags["fastDecode"] === true;
  if (fastDecode) {
    const { modes, name, instructionSet } = createKernels({ fastDecode });
    const kernels = name === "native" ? instructionSet : name;
    if (modes.length === 0) {
      notice(`--fast-decode changes nothing: the ${kernels} kernels have no other way`);
    }
  }
  return fastDecode;
}
