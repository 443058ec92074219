import type { Command } from "cac";
import type { HashedBytes } from "../model/index.ts";

/** Adds the option that says how models are told apart, between nodes and in caches. */
export function withVerifyModel(command: Command): Command {
  return command.option("--verify-model", "Know the model by all its bytes, not by a sample");
}

export function modelBytesOf(flags: Readonly<Record<string, unknown>>): HashedBytes {
  return flags["verifyModel"] === true ? "all" : "sample";
}
