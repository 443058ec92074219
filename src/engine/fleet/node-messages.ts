/** What the coordinator and another node say to each other about that node's ranks. */
import { z } from "zod";
import { MAXIMUM_RANK } from "../../cluster/index.ts";
import { commandSchema, limitsSchema, newsSchema, questionSchema } from "../messages.ts";
import { launchSchema } from "./fleet-plan.ts";

const rank = z.int().min(0).max(MAXIMUM_RANK);

/** What the coordinator tells another node. */
export const orderSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("command"), rank, command: commandSchema }),
  /** The cluster ends, and not by accident. */
  z.object({ kind: z.literal("close") }),
]);

export type NodeOrder = z.infer<typeof orderSchema>;

/** What the coordinator asks another node. */
export const nodeQuestionSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("start"), launch: launchSchema }),
  /** Answered when the threads of these ranks have ended. */
  z.object({ kind: z.literal("end"), ranks: z.array(rank), isLost: z.boolean() }),
  z.object({ kind: z.literal("rank"), rank, question: questionSchema }),
]);

export type NodeQuestion = z.input<typeof nodeQuestionSchema>;

/** Answers to `start`: the limits of each of the ranks that the node has of the launch, ascending. */
export const startedSchema = z.array(limitsSchema);

/** What another node tells the coordinator. */
export const nodeNewsSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("said"), rank, news: newsSchema }),
  /** A rank's thread has ended, however that came. */
  z.object({ kind: z.literal("lost"), rank, reason: z.string(), isOwnFault: z.boolean() }),
  /** The link to another node has broken. */
  z.object({ kind: z.literal("unreachable"), node: z.int().min(0), reason: z.string() }),
]);

export type NodeNews = z.infer<typeof nodeNewsSchema>;
